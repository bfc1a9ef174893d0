"""Every role converges by itself on a real host, and a second run changes nothing."""

import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from strixfleet.managed.compiled import ASPECTS
from tests.conftest import ROOT


pytestmark = [pytest.mark.host, pytest.mark.build]


@pytest.mark.parametrize("role", [*ASPECTS])
def test_scenario(role: str) -> None:
    programs = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "STRIXFLEET_SANDBOXES": str(platformdirs.user_state_path("strixfleet") / "sandboxes"),
        "NO_COLOR": "1",
    }
    done = subprocess.run(
        ["molecule", "test", "-s", role],
        cwd=ROOT / "extensions",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )

    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
