"""R1: whoever kills the controller at whatever instant, one more run ends where an unbroken run ends."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from strixfleet.adapters import sandbox
from strixfleet.core.sandbox import Sandbox, SandboxRequest
from tests.conftest import STRIXFLEET, Run
from tests.host.conftest import Demo
from tests.host.outside import changed, picture, root


pytestmark = [pytest.mark.host, pytest.mark.build, pytest.mark.alone]
SEED = 20261121
MEASURED = {
    0,
    1,
}  # 1: the smoke benchmark was disturbed, which is another test's matter; the audit decides here


@pytest.fixture(scope="module")
def bare(demo: Demo) -> Iterator[Sandbox]:
    """Make a bare host with the demo's settings; the build comes out of the demo's ccache."""
    made = sandbox.create(SandboxRequest(name="kills", hosts=1))
    settings = Path(demo.inventory, "group_vars/all.yml").read_text()
    settings = settings.replace(demo.made.hosts[0].address, made.hosts[0].address)
    (made.inventory / "group_vars").mkdir()
    (made.inventory / "group_vars/all.yml").write_text(settings)
    yield made
    sandbox.destroy("kills")


def _provision(made: Sandbox) -> list[str]:
    return [STRIXFLEET, "provision", "-i", str(made.inventory), "--yes", "--reboot", "auto"]


@pytest.fixture(scope="module")
def unbroken(bare: Sandbox) -> tuple[dict[str, object], float]:
    """Run once without a kill; give the picture and how long it took."""
    started = time.monotonic()
    done = subprocess.run(_provision(bare), capture_output=True, text=True, check=False, timeout=1500)
    assert done.returncode in MEASURED, done.stdout + done.stderr
    return picture(bare, "kills-1", moments=False), time.monotonic() - started


def _kill_and_finish(made: Sandbox, after_s: float) -> None:
    sandbox.reset(made)
    process = subprocess.Popen(
        _provision(made), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        process.wait(timeout=after_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = subprocess.run(_provision(made), capture_output=True, text=True, check=False, timeout=1500)
    assert done.returncode in MEASURED, f"killed after {after_s:.1f} s:\n{done.stdout}{done.stderr}"


def _try(made: Sandbox, unbroken: tuple[dict[str, object], float], strixfleet: Run, trials: int) -> None:
    want, seconds = unbroken
    chance = random.Random(SEED)  # noqa: S311 - a choice of instants
    for _ in range(trials):
        after_s = chance.uniform(0.1, 1.0) * seconds
        _kill_and_finish(made, after_s)
        assert changed(want, picture(made, "kills-1", moments=False)) == [], f"killed after {after_s:.1f} s"
        assert strixfleet("audit", "-i", str(made.inventory)).returncode == 0
        assert root(made, "kills-1", "systemctl is-active llama-server@demo").strip() == "active"


def test_one_more_run_converges(
    bare: Sandbox, unbroken: tuple[dict[str, object], float], strixfleet: Run
) -> None:
    _try(bare, unbroken, strixfleet, 1)


@pytest.mark.soak
def test_one_more_run_converges_long(
    bare: Sandbox, unbroken: tuple[dict[str, object], float], strixfleet: Run
) -> None:
    _try(bare, unbroken, strixfleet, 10)
