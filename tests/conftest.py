"""What all tests share: where the checkout is, and disposable hosts that are gone afterwards."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest


hypothesis.settings.register_profile("untimed", deadline=None)  # no test is timed: machines are shared
hypothesis.settings.load_profile("untimed")
ROOT = Path(__file__).resolve().parents[1]
STRIXFLEET = str(Path(sys.executable).with_name("strixfleet"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with a reason, what needs root where there is none; run hosts last, so that slips show early."""
    if os.geteuid() != 0:
        reason = pytest.mark.skip(reason="boots hosts: needs root")
        for item in items:
            if item.get_closest_marker("host"):
                item.add_marker(reason)
    items.sort(key=lambda item: item.get_closest_marker("host") is not None)


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def strixfleet() -> Run:
    """Run the command as a user does; stdout and stderr apart."""

    def run(
        *arguments: str, timeout_s: float = 1500, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [STRIXFLEET, *arguments],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture(autouse=True, scope="session")
def _own_state() -> Iterator[None]:
    """
    Keep histories and sandboxes of test runs out of the operator's; caches are shared on purpose.

    Not in pytest's own temporary folder: another run of pytest may clear that under a running host.
    """
    kept = os.environ.get("XDG_STATE_HOME")
    folder = tempfile.mkdtemp(prefix="strixfleet-tests-")
    os.environ["XDG_STATE_HOME"] = folder
    yield
    shutil.rmtree(folder, ignore_errors=True)
    if kept is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = kept
