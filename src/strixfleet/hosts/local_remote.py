"""The controller itself as a host, for `ansible_connection: local`."""

import contextlib
import os
import selectors
import shlex
import subprocess
import time
from collections.abc import Sequence
from subprocess import PIPE

from strixfleet.errors import Unreachable
from strixfleet.hosts.remote import CommandResult, answered, check_size, command_line
from strixfleet.inventory.schema.fleet_model import Host


BLOCK_BYTES = 65536


class LocalRemote:
    """The controller."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def run(self, argv: Sequence[str], *, timeout_s: float, become: bool = True) -> CommandResult:
        """Run one program here."""
        command, text = command_line(self._host, argv, become=become)
        result = run_here(self._host.name, shlex.split(command), text, timeout_s)
        return answered(self._host, result)

    def close(self) -> None:
        """Do nothing: there is no connection."""


def run_here(host: str, argv: list[str], text: str, timeout_s: float) -> CommandResult:
    """Run a program on the controller on behalf of a host."""
    deadline = time.monotonic() + timeout_s
    try:
        child = subprocess.Popen(argv, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    except OSError as error:
        raise Unreachable(str(error), where=host) from None
    with child:
        try:
            out, err = _converse(host, child, text, deadline)
            code = child.wait(max(0.0, deadline - time.monotonic()))
        except (TimeoutError, subprocess.TimeoutExpired):
            raise Unreachable(f"no answer within {timeout_s:.0f} s", where=host) from None
        finally:
            child.kill()
    return CommandResult(code, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))


def _converse(
    host: str, child: "subprocess.Popen[bytes]", text: str, deadline: float
) -> tuple[bytearray, bytearray]:
    """Tell a program its input, which is short, and hear both of its streams to their end."""
    heard = {child.stdout: bytearray(), child.stderr: bytearray()}
    if child.stdin:
        with contextlib.suppress(BrokenPipeError), child.stdin:
            child.stdin.write(text.encode())
    with selectors.DefaultSelector() as streams:
        for stream, said in heard.items():
            if stream:
                streams.register(stream, selectors.EVENT_READ, said)
        while streams.get_map():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            for key, _events in streams.select(left_s):
                block = os.read(key.fd, BLOCK_BYTES)
                key.data.extend(block)
                check_size(host, *heard.values())
                if not block:
                    streams.unregister(key.fileobj)
    return heard[child.stdout], heard[child.stderr]
