"""Two real hosts of one profile are compared to find what slows one; and a draft model is measured."""

import json
import sys
from collections.abc import Iterator

import pytest

from strixfleet.sandbox import lifecycle
from strixfleet.sandbox.boxes import Sandbox, SandboxRequest
from tests.conftest import Run
from tests.host.measuring import measured
from tests.host.small import furnish


pytestmark = [pytest.mark.host, pytest.mark.build, pytest.mark.soak]
MODEL_BYTES = 400_000_000  # above the last-level cache
SMOKE = {"prompt_tokens": 128, "generate_tokens": 32, "repetitions": 3}
SLOWED = {"ubatch-size": "1"}  # prefill a token at a time
DRAFTED = {"name": "drafted", "model": "tiny", "port": 8081, "context_size": 1024, "draft_model": "tiny"}


def instances(slowed: dict[str, str], *more: dict[str, object]) -> list[dict[str, object]]:
    served = {"name": "chat", "model": "tiny", "port": 8080, "context_size": 2048, "arguments": slowed}
    return [served, *more]


def variables(made: Sandbox, host: str, served: list[dict[str, object]]) -> None:
    folder = made.inventory / "host_vars"
    folder.mkdir(exist_ok=True)
    (folder / f"{host}.yml").write_text(json.dumps({"llama_server_instances": served}))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, strixfleet: Run) -> Iterator[Sandbox]:
    made = lifecycle.create(SandboxRequest(name="siblings", hosts=2))
    try:
        furnish(made, tmp_path_factory.mktemp("model"), model_bytes=MODEL_BYTES, smoke_bench=SMOKE)
        done = strixfleet("provision", "-i", str(made.inventory), "--yes", "--reboot", "auto", timeout_s=3000)
        assert done.returncode in {0, 1}, done.stdout + done.stderr
        yield made
    finally:
        lifecycle.destroy("siblings")


def test_what_slows_a_host_is_found_beside_its_sibling(pair: Sandbox, strixfleet: Run) -> None:
    before = measured(str(pair.inventory), strixfleet)
    assert {row["grade"] for host in before.values() for row in host["verdicts"]} == {"ok"}

    variables(pair, "siblings-2", instances(SLOWED))
    assert strixfleet("provision", "-i", str(pair.inventory), "--yes").returncode in {0, 1}
    hosts = measured(str(pair.inventory), strixfleet)
    assert {row["grade"] for row in hosts["siblings-1"]["verdicts"]} == {"ok"}
    slow = [row["reason"] for row in hosts["siblings-2"]["verdicts"] if row["grade"] == "slow"]
    assert slow, hosts["siblings-2"]["verdicts"]
    assert all("compared with siblings-1" in reason and "ubatch-size" in reason for reason in slow), slow
    named = [row["cause"] for row in hosts["siblings-2"]["reasons"]]
    assert named[0] == "llama_server:ubatch-size", named


def test_a_draft_model_is_measured_with_and_without(pair: Sandbox, strixfleet: Run) -> None:
    variables(pair, "siblings-1", instances({}, DRAFTED | {"arguments": {"spec-type": "draft-simple"}}))
    only = ["-l", "siblings-1"]
    assert strixfleet("provision", "-i", str(pair.inventory), "--yes", *only).returncode in {0, 1}
    host = measured(str(pair.inventory), strixfleet, "--all", *only)["siblings-1"]
    draft = next(row["draft"] for row in host["served"] if row["instance"] == "drafted")
    print(draft, file=sys.__stderr__, flush=True)
    assert draft["tps_with"] > 0
    assert draft["tps_without"] > 0
    assert draft["acceptance"] == pytest.approx(1.0, abs=0.05)  # the draft is the model itself
