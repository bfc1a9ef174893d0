"""A real Vulkan build without a driver: the CPU must not pass for a GPU."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from strixfleet.adapters import sandbox
from strixfleet.adapters.gguf_writer import write_random_llama
from strixfleet.adapters.llama_source import imported_once
from strixfleet.core.sandbox import Sandbox, SandboxRequest
from tests.conftest import Run
from tests.host.outside import root


pytestmark = [pytest.mark.host, pytest.mark.build]
HOST = "vulkan-1"
MODEL_BYTES = 5_000_000  # llvmpipe computes on the CPU, and slowly


@pytest.fixture(scope="module")
def vulkan(tmp_path_factory: pytest.TempPathFactory, strixfleet: Run) -> Iterator[Sandbox]:
    """Provision a host for Vulkan; Mesa's llvmpipe stands in for the GPU there."""
    model = tmp_path_factory.mktemp("model") / "tiny.gguf"
    write_random_llama(model, size_bytes_at_least=MODEL_BYTES)
    repository, tag = imported_once()
    made = sandbox.create(SandboxRequest(name="vulkan", hosts=1))
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    settings: dict[str, Any] = {
        "llama_cpp_repository": str(repository),
        "llama_cpp_ref": tag,
        "llama_cpp_backend": "vulkan",
        "llama_models": [{"name": "tiny", "path": str(model), "sha256": digest}],
        "llama_server_instances": [{"name": "chat", "model": "tiny", "port": 8080, "context_size": 2048}],
        "smoke_bench": {"prompt_tokens": 16, "generate_tokens": 16, "repetitions": 3},
    }
    variables = Path(made.inventory, "group_vars/all.yml")
    variables.parent.mkdir()
    variables.write_text(json.dumps(settings))
    done = strixfleet("provision", "-i", str(made.inventory), "--yes", "--reboot", "auto", timeout_s=3000)
    try:
        assert done.returncode in {0, 1}, done.stdout + done.stderr
        yield made
    finally:
        sandbox.destroy("vulkan")


def grades(vulkan: Sandbox, strixfleet: Run) -> dict[str, tuple[str, str]]:
    done = strixfleet("bench", "-i", str(vulkan.inventory), "--json")
    assert done.returncode in {0, 1}, done.stderr
    rows = json.loads(done.stdout)["hosts"][HOST]["verdicts"]
    return {row["test"]: (row["grade"], row["reason"]) for row in rows}


def test_without_the_driver_the_device_is_wrong(vulkan: Sandbox, strixfleet: Run) -> None:
    with_driver = grades(vulkan, strixfleet)
    assert "wrong_device" not in {grade for grade, _reason in with_driver.values()}, with_driver
    root(vulkan, HOST, "mv /usr/share/vulkan/icd.d /usr/share/vulkan/icd.away")
    try:
        without = grades(vulkan, strixfleet)
    finally:
        root(vulkan, HOST, "mv /usr/share/vulkan/icd.away /usr/share/vulkan/icd.d")
    assert without["tg16"][0] == "wrong_device", without
    assert "driver" in without["tg16"][1]
