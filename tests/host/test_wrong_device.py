"""A real Vulkan build without a driver: the CPU must not pass for a GPU."""

import json
from collections.abc import Iterator

import pytest

from strixfleet.sandbox import lifecycle
from strixfleet.sandbox.boxes import Sandbox, SandboxRequest
from tests.conftest import Run
from tests.host.outside import root
from tests.host.small import furnish


pytestmark = [pytest.mark.host, pytest.mark.build]
HOST = "vulkan-1"


@pytest.fixture(scope="module")
def vulkan(tmp_path_factory: pytest.TempPathFactory, strixfleet: Run) -> Iterator[Sandbox]:
    """Provision a host for Vulkan; Mesa's llvmpipe stands in for the GPU there, and slowly."""
    made = lifecycle.create(SandboxRequest(name="vulkan", hosts=1))
    try:
        furnish(made, tmp_path_factory.mktemp("model"), llama_cpp_backend="vulkan")
        done = strixfleet("provision", "-i", str(made.inventory), "--yes", "--reboot", "auto", timeout_s=3000)
        assert done.returncode in {0, 1}, done.stdout + done.stderr
        yield made
    finally:
        lifecycle.destroy("vulkan")


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
