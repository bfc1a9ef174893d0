"""
Run commands on a host: one connection, known host keys only.

fabric accepts any host key by default (fabric#2071, connection.py sets AutoAddPolicy); here an unknown or
changed key is refused before anything is sent. Connections that need what paramiko lacks (jump hosts,
ssh options) go through the system's own ssh.
"""

import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strixfleet.errors import HostKeyError, ProbeFailed, Unreachable
from strixfleet.hosts.openssh_remote import (
    CommandResult,
    LocalRemote,
    OpensshRemote,
    Remote,
    command_line,
    trust_hint,
)
from strixfleet.hosts.probe import probe_argv, read_answers
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.on_host.questions import Answers, Question


if TYPE_CHECKING:
    from collections.abc import Callable


class SshRemote:
    """A host over one fabric connection, opened at the first command."""

    def __init__(self, host: Host, known_hosts: str) -> None:
        self._host = host
        self._known_hosts = known_hosts
        self._connection: Any = None
        self._lock = threading.Lock()

    def _open(self) -> Any:
        with self._lock:
            if self._connection is None:
                self._connection = self._connect()
            return self._connection

    def _connect(self) -> Any:
        import fabric
        import paramiko

        wish = self._host.connection
        config = fabric.Config(overrides={"load_ssh_configs": False})
        key = {"key_filename": wish.private_key_file} if wish.private_key_file else {}
        if wish.password is not None:
            key["password"] = wish.password.reveal()
        timing = {"banner_timeout": wish.timeout_s, "auth_timeout": wish.timeout_s}
        connection = fabric.Connection(
            wish.address,
            user=wish.user or None,
            port=wish.port,
            config=config,
            connect_timeout=wish.timeout_s,
            connect_kwargs={**key, **timing},
        )
        connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        if Path(self._known_hosts).exists():
            connection.client.load_host_keys(self._known_hosts)
        self._guarded(connection.open, paramiko)
        connection.client.get_transport().set_keepalive(15)
        return connection

    def _guarded(self, act: "Callable[[], object]", paramiko: Any) -> None:
        name, wish = self._host.name, self._host.connection
        place = f"{wish.address}:{wish.port}"
        try:
            act()
        except paramiko.BadHostKeyException:
            raise HostKeyError(
                f"the host key of {place} is not the one that was enrolled; nothing was sent",
                where=name,
                hint=trust_hint(self._host),
            ) from None
        except paramiko.AuthenticationException:
            raise Unreachable(
                f"{place} refused the login as {wish.user or 'the current user'}",
                where=name,
                hint="check ansible_user and ansible_ssh_private_key_file",
            ) from None
        except paramiko.SSHException as error:
            if "not found in known_hosts" in str(error):
                raise HostKeyError(
                    f"the host key of {place} is unknown", where=name, hint=trust_hint(self._host)
                ) from None
            raise Unreachable(f"unreachable at {place}: {error}", where=name) from None
        except (OSError, EOFError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise Unreachable(f"unreachable at {place}: {reason}", where=name) from None

    def run(self, argv: Sequence[str], *, timeout_s: float, become: bool = True) -> CommandResult:
        """Run one program over the open connection."""
        import paramiko

        command, text = command_line(self._host, argv, become=become)
        connection = self._open()
        try:
            channel = connection.transport.open_session(timeout=self._host.connection.timeout_s)
            return self._converse(channel, command, text, time.monotonic() + timeout_s)
        except TimeoutError:
            raise Unreachable(f"no answer within {timeout_s:.0f} s", where=self._host.name) from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            reason = str(error) or type(error).__name__
            raise Unreachable(f"the connection broke: {reason}", where=self._host.name) from None

    @staticmethod
    def _converse(channel: Any, command: str, text: str, deadline: float) -> CommandResult:
        out, err = bytearray(), bytearray()
        channel.exec_command(command)
        if text:
            channel.sendall(text.encode())
        channel.shutdown_write()
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                channel.close()
                raise TimeoutError
            channel.settimeout(min(left, 0.25))
            while channel.recv_stderr_ready():
                err += channel.recv_stderr(65536)
            try:
                block = channel.recv(65536)
            except TimeoutError:
                continue
            if not block:
                break
            out += block
        while block := channel.recv_stderr(65536):
            err += block
        code = channel.recv_exit_status()
        channel.close()
        return CommandResult(code, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def remote_for(host: Host, known_hosts: str) -> Remote:
    """Choose how to reach a host."""
    if host.connection.local:
        return LocalRemote(host)
    wish = host.connection
    by_ssh = wish.ssh_name is not None and (wish.password is None or wish.proxied)
    if wish.ssh_common_args or by_ssh:
        return OpensshRemote(host, known_hosts)
    return SshRemote(host, known_hosts)


def ask(remote: Remote, host: Host, questions: Iterable[Question], *, timeout_s: float = 60.0) -> Answers:
    """Answer all questions in one round trip."""
    argv = probe_argv(
        questions, root=host.settings.sandbox_hardware_root, python=host.connection.python or "python3"
    )
    result = remote.run(argv, timeout_s=timeout_s)
    if result.exit_code != 0 and "password" in result.stderr.lower():
        raise ProbeFailed(
            "sudo wants a password", where=host.name, hint="use -K, or a NOPASSWD rule for this user"
        )
    return read_answers(result.stdout, host=host.name, stderr=result.stderr)
