"""A host over the system's ssh, which has what paramiko lacks: jump hosts, ssh options, security keys."""

from collections.abc import Sequence

from strixfleet.errors import HostKeyError, Unreachable
from strixfleet.hosts.local_remote import run_here
from strixfleet.hosts.remote import CommandResult, answered, command_line, trust_hint
from strixfleet.inventory.ansible.host_key_options import NO_SHARED_CONNECTION, checked_by
from strixfleet.inventory.schema.fleet_model import Host


class OpensshRemote:
    """A host over the system's ssh, with a connection for each command."""

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
            *("ssh", *checked_by(self._known_hosts), *NO_SHARED_CONNECTION, "-o", "BatchMode=yes"),
            *("-o", f"ConnectTimeout={connection.timeout_s}", "-o", "ServerAliveInterval=15"),
            *("-p", str(connection.port), *key, *user, *connection.ssh_common_args),
            *("--", connection.ssh_name or connection.address, command),
        ]
        result = run_here(self._host.name, ssh, text, timeout_s)
        if result.exit_code != 255:  # noqa: PLR2004 - ssh's own failures are 255, see ssh(1)
            return answered(self._host, result)
        reason = (result.stderr.strip() or "ssh failed").splitlines()[-1]
        if "host key" in result.stderr.lower():  # ssh has one exit code for all failures
            raise HostKeyError(reason, where=self._host.name, hint=trust_hint(self._host))
        raise Unreachable(f"unreachable: {reason}", where=self._host.name)

    def close(self) -> None:
        """Do nothing: each command has ended its connection."""
