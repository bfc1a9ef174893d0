"""What a gate measures: every instance, unless the inventory names a model."""

from typing import Any

import pytest

from strixfleet.findings.last_good import LastGood, Subject
from strixfleet.hosts.reach import remote_for
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.on_host.questions import Json
from strixfleet.rollout.gate_bench import GateBench
from strixfleet.speed.measure.host_answer import FileStat, HostAnswer
from strixfleet.speed.measure.remote_bench import Bench
from tests.fixtures.rollout_hosts import probed


TESTS = ("pp512", "tg128", "served tg128")


def host(**smoke: Any) -> Host:  # noqa: ANN401 - settings
    models = [{"name": name, "host_path": f"/{name}.gguf", "sha256": "f" * 64} for name in ("m", "n")]
    instances = [{"name": name, "model": name, "port": 8080 + at} for at, name in enumerate(("m", "n"))]
    settings = {"llama_models": models, "llama_server_instances": instances, "smoke_bench": smoke}
    return Host("h", Connection("127.0.0.1", local=True), HostSettings.model_validate(settings))


class Remembering(Bench):
    """A host that remembers the speeds of some models."""

    def __init__(self, one: Host, models: str) -> None:
        super().__init__(one, remote_for(one, ""))
        self.models = models

    def look(self, _instances: list[str], files: list[str], _calm_s: float) -> HostAnswer:
        known = [Subject("b1", f"{name}.gguf", 5).key(test) for name in self.models for test in TESTS]
        entries: dict[str, Json] = {key: {"tps": 10.0} for key in known}
        return HostAnswer(files=dict.fromkeys(files, FileStat(5)), last_good=LastGood(entries))


@pytest.mark.parametrize(
    ("smoke", "models", "speeds"),
    [({}, "mn", 6), ({}, "m", 0), ({"model": "n"}, "n", 3), ({"model": "n"}, "m", 0)],
)
def test_what_is_remembered_is_enough_only_for_all_instances(
    smoke: dict[str, Any], models: str, speeds: int
) -> None:
    one = host(**smoke)
    assert len(GateBench(one, probed(one, "b1"), Remembering(one, models)).remembered("b1")) == speeds
