"""llama-bench as the server runs it, with a host that answers as recorded."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import SecretStr

from strixfleet.findings.last_good import LastGood, Subject
from strixfleet.findings.verdict import Grade
from strixfleet.inventory.schema.parts import Instance, SmokeBench
from strixfleet.speed.judge.judge_runs import Expectations, verdicts_of
from strixfleet.speed.measure.evidence import Evidence, Target
from strixfleet.speed.measure.host_answer import ServerUnit
from strixfleet.speed.measure.host_conditions import HostConditions
from strixfleet.speed.measure.measure_server import Server, with_llama_bench
from strixfleet.speed.measure.remote_bench import Bench, ProgramRun
from strixfleet.speed.measure.served import Served
from strixfleet.speed.measure.server_flags import ServerFlags


INSTANCE = Instance(name="main", model="m", port=8080)
TARGET = Target("m", ("/m.gguf",), INSTANCE)
EVIDENCE = Evidence(TARGET, "vulkan", False, HostConditions())
FLAGS = ServerFlags(("--device", "Vulkan0", "--n-gpu-layers", "999", "--port", "8080"), {})
ON_THE_CPU = json.loads(Path(__file__).with_name("answers").joinpath("cpu.json").read_text())


class Recorded:
    """A host whose driver is gone: llama-bench knows no Vulkan0; left to choose, it takes the CPU."""

    def __init__(self, instead: ProgramRun) -> None:
        self.instead = instead
        self.asked: list[list[str]] = []

    def program(self, request: Mapping[str, Any], _timeout_s: int) -> ProgramRun:
        self.asked.append(list(request["arguments"]))
        if "-dev" in request["arguments"]:
            return ProgramRun(1, "", "error: invalid device: Vulkan0")
        return self.instead


def measured(instead: ProgramRun) -> tuple[Recorded, Evidence]:
    host = Recorded(instead)
    server = Server(TARGET, ServerUnit(), FLAGS)
    return host, with_llama_bench(EVIDENCE, server, cast("Bench", host), SmokeBench())


def test_a_missing_device_shows_what_computes_instead() -> None:
    rows = [{**row, "backends": "Vulkan", "gpu_info": ""} for row in ON_THE_CPU]
    host, evidence = measured(ProgramRun(0, json.dumps(rows), ""))
    expectations = Expectations(Subject("b", "m.gguf", 1), None, LastGood())
    found = verdicts_of(evidence, expectations, 128)
    assert len(host.asked) == 2
    assert "Vulkan0" not in host.asked[1]
    assert {one.grade for one in found if not one.test.startswith("served")} == {Grade.WRONG_DEVICE}
    assert "check the GPU driver" in found[0].reason


class Older(Recorded):
    """A build whose llama-bench does not know the load mode."""

    def program(self, request: Mapping[str, Any], _timeout_s: int) -> ProgramRun:
        self.asked.append(list(request["arguments"]))
        if "-lm" in request["arguments"]:
            return ProgramRun(1, "", "error: invalid parameter for argument: -lm")
        return self.instead


def test_an_older_llama_bench_is_measured_without_the_load_mode() -> None:
    host = Older(ProgramRun(0, json.dumps(ON_THE_CPU), ""))
    flags = ServerFlags(("--load-mode", "none", "--port", "8080"), {})
    cpu = replace(EVIDENCE, backend="cpu")
    evidence = with_llama_bench(cpu, Server(TARGET, ServerUnit(), flags), cast("Bench", host), SmokeBench())
    assert evidence.problem == ""
    assert len(evidence.rows) == len(ON_THE_CPU)
    assert [("-lm" in asked) for asked in host.asked] == [True, False]


def test_a_run_that_fails_either_way_says_how_it_failed_first() -> None:
    _host, evidence = measured(ProgramRun(1, "", "out of memory"))
    assert evidence.problem == "llama-bench ended with 1: error: invalid device: Vulkan0"
    assert evidence.rows == ()


class Asked(Recorded):
    """A host that keeps the request for completions."""

    def served(self, request: Mapping[str, Any], _timeout_s: int) -> Served:
        self.request = dict(request)
        return Served(error="nobody answers")


@pytest.mark.parametrize("host", ["127.0.0.1", "tailnet", "localhost"])
def test_prompts_and_key_go_where_the_inventory_says_not_where_a_process_claims_to_listen(host: str) -> None:
    claims = ServerFlags(("--host", "198.51.100.7", "--port", "80"), {"LLAMA_ARG_HOST": "198.51.100.7"})
    instance = Instance(name="main", model="m", port=8081, host=host, api_key=SecretStr("planted"))
    unit = ServerUnit("active", 42, claims.argv, claims.environment)
    asked = Asked(ProgramRun(0, "[]", ""))
    server = Server(Target("m", ("/m.gguf",), instance), unit, claims)
    server.served(cast("Bench", asked), SmokeBench())
    assert asked.request["url"] == "http://127.0.0.1:8081"
