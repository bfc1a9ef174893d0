"""A host that commands run on, and how it is reached with the system's own programs."""

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from strixfleet.errors import HostKeyError, Unreachable
from strixfleet.inventory.schema.fleet_model import Host


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
    secret = connection.become_password.reveal()
    return shlex.join([sudo, "-S", "-p", "", *user, "--", *argv]), f"{secret}\n"


class LocalRemote:
    """The controller itself, for `ansible_connection: local`."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def run(self, argv: Sequence[str], *, timeout_s: float, become: bool = True) -> CommandResult:
        """Run one program here."""
        command, text = command_line(self._host, argv, become=become)
        return _run_here(self._host.name, shlex.split(command), text, timeout_s)

    def close(self) -> None:
        """Nothing to end."""


class OpensshRemote:
    """A host behind the system's ssh: jump hosts, proxy commands, agents, hardware keys."""

    def __init__(self, host: Host, known_hosts: str) -> None:
        self._host = host
        self._known_hosts = known_hosts

    def run(self, argv: Sequence[str], *, timeout_s: float, become: bool = True) -> CommandResult:
        """Run one program through `ssh`."""
        connection = self._host.connection
        command, text = command_line(self._host, argv, become=become)
        key = ["-i", connection.private_key_file] if connection.private_key_file else []
        user = ["-l", connection.user] if connection.user else []
        ssh = [
            *("ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"),
            *("-o", f"UserKnownHostsFile={self._known_hosts}", "-o", "GlobalKnownHostsFile=/dev/null"),
            *("-o", f"ConnectTimeout={connection.timeout_s}", "-o", "ServerAliveInterval=15"),
            *("-p", str(connection.port), *key, *user, *connection.ssh_common_args),
            *("--", connection.ssh_name or connection.address, command),
        ]
        result = _run_here(self._host.name, ssh, text, timeout_s)
        if result.exit_code != 255:  # noqa: PLR2004 - ssh's own failures are 255, see ssh(1)
            return result
        reason = (result.stderr.strip() or "ssh failed").splitlines()[-1]
        if "host key" in result.stderr.lower():
            raise HostKeyError(reason, where=self._host.name, hint=trust_hint(self._host))
        raise Unreachable(f"unreachable: {reason}", where=self._host.name)

    def close(self) -> None:
        """Each command has its own connection."""


def _run_here(host: str, argv: list[str], text: str, timeout_s: float) -> CommandResult:
    try:
        done = subprocess.run(
            argv, input=text, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unreachable(f"no answer within {timeout_s:.0f} s", where=host) from None
    except OSError as error:
        raise Unreachable(str(error), where=host) from None
    return CommandResult(done.returncode, done.stdout, done.stderr)


def trust_hint(host: Host) -> str:
    """Say how a host is enrolled."""
    return f"compare the key with the host's console, then `strixfleet trust -l {host.name}`"
