"""A host that commands run on, whatever the way to it."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from strixfleet.errors import ProbeFailed
from strixfleet.inventory.schema.fleet_model import Host


ANSWER_LIMIT_BYTES = 64 << 20  # the largest that is asked for is a model's header of 40 MiB, as base64
SUDO_ASKS = "strixfleet-become-password:"
_PROMPT = re.compile(rf"(\[sudo: )?{SUDO_ASKS}(\] )?")  # sudo-rs frames it
_SUDO_SAYS = re.compile(r"sudo(-rs)?(\.ws)?: ")


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command on a host returned."""

    exit_code: int
    stdout: str
    stderr: str


class Remote(Protocol):
    """A host that commands can be run on."""

    def run(self, argv: Sequence[str], *, timeout_s: float, become: bool = True) -> CommandResult:
        """Run one program; raise HostError when the host cannot be reached."""
        ...

    def close(self) -> None:
        """End the connection."""
        ...


def check_size(host: str, *streams: bytearray) -> None:
    """Raise ProbeFailed where a host says more than is ever asked of it."""
    if sum(map(len, streams)) > ANSWER_LIMIT_BYTES:
        raise ProbeFailed(f"it answered more than {ANSWER_LIMIT_BYTES >> 20} MiB", where=host)


def command_line(host: Host, argv: Sequence[str], *, become: bool) -> tuple[str, str]:
    """Return the shell-quoted command and what goes to its standard input (sudo's password, or nothing)."""
    connection = host.connection
    if not become or not connection.become:
        return shlex.join(argv), ""
    sudo = connection.become_exe or "sudo"
    if connection.become_password is None:
        user = [*connection.become_flags, "-u", connection.become_user]
        return shlex.join([sudo, "-n", *user, "--", *argv]), ""
    asks = (flag for flag in connection.become_flags if flag not in {"-n", "--non-interactive"})
    user = [*asks, "-u", connection.become_user]
    secret = connection.become_password.get_secret_value()
    return shlex.join([sudo, "-S", "-p", SUDO_ASKS, *user, "--", *argv]), f"{secret}\n"


def answered(host: Host, result: CommandResult) -> CommandResult:
    """
    Return what a command printed, without sudo's prompt; raise ProbeFailed where sudo ran nothing.

    sudo ends with 1 and says why under its own name. It prompts only where it wants a password, so one that
    it prompted for and then did not run is wrong.
    """
    stderr, prompts = _PROMPT.subn("", result.stderr)
    last = next(iter(stderr.rstrip().splitlines()[-1:]), "").strip()
    if result.exit_code != 1 or result.stdout or not _SUDO_SAYS.match(last) or not host.connection.become:
        return replace(result, stderr=stderr)
    if prompts:
        message, hint = (
            "sudo did not accept the become password",
            "type it again, or correct the vault",
        )
    elif host.connection.become_password is None:
        message, hint = "sudo wants a password", "use -K, or a NOPASSWD rule for this user"
    else:
        message, hint = "sudo refuses to run anything", "see `sudo -l` of this user on the host"
    raise ProbeFailed(f"{message} ({last})", where=host.name, hint=hint)


def trust_hint(host: Host) -> str:
    """Return how a host's key is enrolled."""
    return f"compare the key with the host's console, then `strixfleet trust -l {host.name}`"
