"""What `make test` leaves when it is interrupted: no host, and nothing that still works on one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT


pytestmark = pytest.mark.host


def processes_of(folder: Path) -> list[str]:
    """Return the command lines of all processes that work in a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if str(folder).encode() in words:
            found.append(words.replace(b"\0", b" ").decode())
    return found


def test_an_interrupted_run_leaves_no_host_behind(tmp_path: Path) -> None:
    """In a worker of its own, as in `make test`."""
    argv = [sys.executable, "-m", "pytest", "-q", "-m", "host", "-n", "1", "-p", "no:cacheprovider"]
    process = subprocess.Popen(
        [*argv, "--basetemp", str(tmp_path / "base"), "tests/host/test_apt_on_a_host.py"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("strixfleet-tests-*/strixfleet/sandboxes/apt-*/sandbox.json")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=90)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, said
    assert list(tmp_path.glob("strixfleet-tests-*")) == []
    assert processes_of(tmp_path) == []
