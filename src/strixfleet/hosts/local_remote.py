"""The controller itself as a host, for `ansible_connection: local`."""

import shlex
import subprocess
from collections.abc import Sequence

from strixfleet.errors import Unreachable
from strixfleet.hosts.remote import CommandResult, answered, command_line
from strixfleet.inventory.schema.fleet_model import Host


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
    try:
        done = subprocess.run(
            argv, input=text, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unreachable(f"no answer within {timeout_s:.0f} s", where=host) from None
    except OSError as error:
        raise Unreachable(str(error), where=host) from None
    return CommandResult(done.returncode, done.stdout, done.stderr)
