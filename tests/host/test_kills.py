"""If the controller is killed at any moment, one more run reaches the state of an undisturbed run."""

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from strixfleet.fleet.class_builds import ClassBuilds
from strixfleet.sandbox import lifecycle
from strixfleet.sandbox.boxes import Sandbox, SandboxRequest
from tests.conftest import STRIXFLEET, Run
from tests.host.outside import changed, picture, root
from tests.host.small import furnish


pytestmark = [pytest.mark.host, pytest.mark.build]
SEED = 20261121
LONGEST_STEP_S = 4.0  # after a line of progress
MEASURED = {0, 1}  # 1: the smoke benchmark was disturbed, another test's matter; the audit decides here


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    made = lifecycle.create(SandboxRequest(name="kills", hosts=1))
    try:
        furnish(made, tmp_path_factory.mktemp("model"))
        yield made
    finally:
        lifecycle.destroy("kills")


def _provision(made: Sandbox) -> list[str]:
    return [STRIXFLEET, "provision", "-i", str(made.inventory), "--yes", "--reboot", "auto"]


@pytest.fixture(scope="module")
def unbroken(bare: Sandbox) -> tuple[dict[str, object], int]:
    """Run once without a kill; give the picture and how many lines of progress were told."""
    done = subprocess.run(_provision(bare), capture_output=True, text=True, check=False, timeout=3000)
    assert done.returncode in MEASURED, done.stdout + done.stderr
    return picture(bare, "kills-1", moments=False), len(done.stderr.splitlines())


def _killed(made: Sandbox, after_lines: int, after_s: float) -> bool:
    """Kill a run on a bare host so long after a line of progress; False where it had ended by then."""
    lifecycle.reset(made)
    shutil.rmtree(ClassBuilds(made.inventory).folder, ignore_errors=True)  # so that it compiles
    with subprocess.Popen(
        _provision(made), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        for _line in itertools.islice(process.stderr, after_lines):
            pass
        try:
            process.wait(timeout=after_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        return process.wait() == -signal.SIGKILL


def _kill_and_finish(made: Sandbox, after_lines: int, after_s: float) -> None:
    while not _killed(made, after_lines, after_s):
        assert after_lines, "it ends at once"
        after_lines //= 2  # this run told less than the first, which had to compile more
    done = subprocess.run(_provision(made), capture_output=True, text=True, check=False, timeout=1500)
    assert done.returncode in MEASURED, done.stdout + done.stderr


def _try(made: Sandbox, unbroken: tuple[dict[str, object], int], strixfleet: Run, trials: int) -> None:
    want, lines = unbroken
    chance = random.Random(SEED)  # noqa: S311 - a choice of instants
    for _ in range(trials):
        after_lines, after_s = chance.randint(1, lines * 9 // 10), chance.uniform(0, LONGEST_STEP_S)
        _kill_and_finish(made, after_lines, after_s)
        killed = f"killed {after_s:.1f} s after line {after_lines}"
        assert changed(want, picture(made, "kills-1", moments=False)) == [], killed
        assert strixfleet("audit", "-i", str(made.inventory)).returncode == 0, killed
        assert root(made, "kills-1", "systemctl is-active llama-server@chat").strip() == "active", killed
        print(f"as unbroken: {killed} of {lines}", file=sys.__stderr__, flush=True)


def test_one_more_run_converges(
    bare: Sandbox, unbroken: tuple[dict[str, object], int], strixfleet: Run
) -> None:
    _try(bare, unbroken, strixfleet, 1)


@pytest.mark.soak
def test_one_more_run_converges_long(
    bare: Sandbox, unbroken: tuple[dict[str, object], int], strixfleet: Run
) -> None:
    _try(bare, unbroken, strixfleet, 10)
