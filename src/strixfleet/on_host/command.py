"""Run a program on a host: without a shell, with a plain environment, within limits of time and output."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from typing import Any, NamedTuple

from .files import said_of


PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATH, "LC_ALL": "C.UTF-8"}
NOT_RUN = -1
OUTPUT_LIMIT_BYTES = 16 << 20
_BLOCK_BYTES = 1 << 16


class Finished(NamedTuple):
    """What a program printed; `code` is NOT_RUN where it did not start or did not end within its limits."""

    code: int
    out: str
    err: str


def run(argv: list[str], timeout_s: float | None, text: str = "", **options: Any) -> Finished:
    """Run a program to its end, in any time where the limit is None; raise OSError where that fails."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        argv, stdin=pipe, stdout=pipe, stderr=pipe, **{"env": ENVIRONMENT, **options}
    ) as child:
        try:
            out, err = _output(child, text.encode(), timeout_s, argv[0])
        except BaseException:
            _end(child, whole_session=bool(options.get("start_new_session")))
            raise
    return Finished(child.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))


def _output(
    child: subprocess.Popen[bytes], text: bytes, timeout_s: float | None, name: str
) -> tuple[bytes, bytes]:
    """Give a child its input, which must fit into a pipe, and return what it prints."""
    if child.stdin is None or child.stdout is None or child.stderr is None:
        raise ValueError("a child without pipes")
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(text)
        child.stdin.close()
    printed = {child.stdout.fileno(): bytearray(), child.stderr.fileno(): bytearray()}
    with selectors.DefaultSelector() as open_streams:
        for stream in printed:
            open_streams.register(stream, selectors.EVENT_READ)
        while open_streams.get_map():
            for key, _events in open_streams.select(_left_s(deadline)):
                block = os.read(key.fd, _BLOCK_BYTES)
                printed[key.fd] += block
                if not block:
                    open_streams.unregister(key.fd)
            if sum(map(len, printed.values())) > OUTPUT_LIMIT_BYTES:
                raise OSError("%s printed more than %d MiB" % (name, OUTPUT_LIMIT_BYTES >> 20))
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError("%s did not end within %g s" % (name, timeout_s or 0))
    try:
        child.wait(_left_s(deadline))
    except subprocess.TimeoutExpired:
        raise TimeoutError("%s did not end within %g s" % (name, timeout_s or 0)) from None
    out, err = (bytes(block) for block in printed.values())
    return out, err


def _left_s(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _end(child: subprocess.Popen[bytes], whole_session: bool) -> None:
    """Kill a child, with all of its session where it has one of its own."""
    with contextlib.suppress(ProcessLookupError):
        if whole_session:
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()


def attempt(argv: list[str], timeout_s: float | None, **options: Any) -> Finished:
    """Run a program and return why it did not run, too."""
    try:
        return run(argv, timeout_s, **options)
    except OSError as problem:
        return Finished(NOT_RUN, "", said_of(problem))
