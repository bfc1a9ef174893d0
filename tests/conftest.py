"""What all tests share: where the checkout is, and disposable hosts that are gone afterwards."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.needs import Watch, needs_of


hypothesis.settings.register_profile("untimed", deadline=None)  # no test is timed: machines are shared
hypothesis.settings.register_profile("quick", deadline=None, max_examples=20)  # for `make unit`
hypothesis.settings.load_profile("untimed")
# What compiles llama.cpp for minutes, each followed by what mostly waits: two workers share two cores.
LONG_FIRST = ("test_kills", "test_upgrade_on_hosts", "test_wrong_device", "test_renames_on_hosts")
STATE_PREFIX, RUNNING = "strixfleet-tests-", "running"
ROOT = Path(__file__).resolve().parents[1]
ENDS_WITH_US = ("setpriv", "--pdeathsig", "TERM", "--")  # also where a worker is killed
STRIXFLEET = str(Path(sys.executable).with_name("strixfleet"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the cases of the aspects be recorded anew."""
    parser.addoption(
        "--record-expected",
        action="store_true",
        help="rewrite `expected` in tests/cases/aspects; see its README",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what each test needs; skip, with a reason, what needs root where there is none; run hosts last."""
    for item in items:
        if isinstance(item, pytest.Function):
            for need in sorted(needs_of(item)):
                item.add_marker(need)
        if os.geteuid() != 0 and item.get_closest_marker("host"):
            item.add_marker(pytest.mark.skip(reason="boots hosts: needs root"))
    order = {name: number for number, name in enumerate(LONG_FIRST, -len(LONG_FIRST))}
    items.sort(key=lambda item: (item.get_closest_marker("host") is not None, order.get(item.path.stem, 0)))


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def pytest_configure() -> None:
    """Let a closed terminal and `kill` end a run as Ctrl-C does: fixtures destroy their hosts."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Destroy the hosts of workers that were interrupted and had no time for it."""
    if os.geteuid() == 0 and not hasattr(config, "workerinput"):
        _end_leftovers()


_WATCH = Watch()


@pytest.fixture(autouse=True)
def _is_what_make_unit_may_run(request: pytest.FixtureRequest) -> Iterator[None]:
    """In `make unit`, fail a test that does what tests/needs.py did not foresee."""
    _WATCH.seen.clear()
    yield
    if _WATCH.seen and "not programs" in request.config.option.markexpr:
        pytest.fail(f"needs {_WATCH.seen}; hint: add what leads there to tests/needs.py, or mark the test")


def _end_leftovers() -> None:
    """Destroy the hosts of test runs that were killed: a run holds a lock in its folder while it lives."""
    for mark in Path(tempfile.gettempdir()).glob(f"{STATE_PREFIX}*/{RUNNING}"):
        from strixfleet.sandbox import lifecycle, sandbox_state

        with contextlib.suppress(FileNotFoundError, BlockingIOError), mark.open() as running:
            fcntl.flock(running, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.environ["XDG_STATE_HOME"] = str(mark.parent)
            for name in sandbox_state.names():
                lifecycle.destroy(name)
            _remove(mark.parent)


def _remove(state: Path) -> None:
    """Remove the folder of a run; end what still works on its hosts, as workers of Ansible do."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(state).encode() in path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)
    shutil.rmtree(state, ignore_errors=True)


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def strixfleet() -> Run:
    """Run the command as a user does; stdout and stderr apart."""

    def run(
        *arguments: str, timeout_s: float = 1500, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*ENDS_WITH_US, STRIXFLEET, *arguments],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture(autouse=True, scope="session")
def _own_state(request: pytest.FixtureRequest) -> Iterator[None]:
    """
    Keep histories and sandboxes of test runs out of the operator's; caches are shared on purpose.

    Not in pytest's own temporary folder: another run of pytest may clear that under a running host.
    """
    kept = os.environ.get("XDG_STATE_HOME")
    if os.geteuid() == 0 and any(item.get_closest_marker("host") for item in request.session.items):
        _end_leftovers()
    folder = tempfile.mkdtemp(prefix=STATE_PREFIX)
    os.environ["XDG_STATE_HOME"] = folder
    new = Path(folder, "running.new")
    with new.open("w") as running:
        fcntl.flock(running, fcntl.LOCK_EX)
        new.rename(new.with_name(RUNNING))
        yield
    _remove(Path(folder))
    if kept is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = kept
