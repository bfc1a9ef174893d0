"""
A host over fabric: one connection for all commands, known host keys only.

fabric accepts any host key by default (fabric#2071, connection.py sets AutoAddPolicy); here an unknown or
changed key is refused before anything is sent.
"""

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from strixfleet.errors import HostError, HostKeyError, Unreachable
from strixfleet.hosts.remote import CommandResult, answered, check_size, command_line, trust_hint
from strixfleet.inventory.schema.fleet_model import Host


KEEPALIVE_S = 15
POLL_S = 0.25
BLOCK_BYTES = 65536
BUSY = "try again later, or give it longer with ansible_timeout"
HANDSHAKE = "the SSH server took the connection and did not finish the handshake in time"
# What paramiko says, and what it means to an operator.
PLAIN = {
    "Error reading SSH protocol banner": HANDSHAKE,
    "No existing session": HANDSHAKE,
    "Timeout opening channel.": "the SSH server opened no session in time",
    "Timeout openning channel.": "the SSH server opened no session in time",
    "Authentication timeout.": "the SSH server did not answer the login in time",
    "SSH session not active": "the connection ended",
    "EOFError": "the SSH server closed the connection",
}

# paramiko's threads log tracebacks, which Python prints where nobody listens; the error is raised as well.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


def _place(host: Host) -> str:
    return f"{host.connection.address}:{host.connection.port}"


class _RefuseUnknownKey:
    """paramiko's policy for a key that is not enrolled; its own policy raises no type of its own."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def missing_host_key(self, _client: object, _hostname: str, _key: object) -> None:
        message = f"the host key of {_place(self._host)} is unknown"
        raise HostKeyError(message, where=self._host.name, hint=trust_hint(self._host))


def _failure(host: Host, error: Exception) -> HostError:
    """Return our error for one of paramiko's, by its most specific type."""
    import paramiko

    if isinstance(error, paramiko.BadHostKeyException):
        message = f"the host key of {_place(host)} is not the enrolled one; nothing was sent"
        return HostKeyError(message, where=host.name, hint=trust_hint(host))
    if isinstance(error, paramiko.AuthenticationException) and str(error) not in PLAIN:
        message = f"{_place(host)} refused the login as {host.connection.user or 'the current user'}"
        hint = "check ansible_user and ansible_ssh_private_key_file"
        return Unreachable(message, where=host.name, hint=hint)
    reason, hint = _plain(error)
    return Unreachable(f"unreachable at {_place(host)}: {reason}", where=host.name, hint=hint)


def _plain(error: Exception) -> tuple[str, str]:
    """Return an error in plain words, and a hint where there is one."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return (PLAIN[said], BUSY) if said in PLAIN else (said, "")


class FabricRemote:
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
            key["password"] = wish.password.get_secret_value()
        timing = {"banner_timeout": wish.timeout_s, "auth_timeout": wish.timeout_s}
        connection = fabric.Connection(
            wish.address,
            user=wish.user or None,
            port=wish.port,
            config=config,
            connect_timeout=wish.timeout_s,
            connect_kwargs={**key, **timing},
        )
        connection.client.set_missing_host_key_policy(_RefuseUnknownKey(self._host))
        if Path(self._known_hosts).exists():
            connection.client.load_host_keys(self._known_hosts)
        try:
            connection.open()
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise _failure(self._host, error) from None
        connection.client.get_transport().set_keepalive(KEEPALIVE_S)
        return connection

    def run(self, argv: Sequence[str], *, timeout_s: float, become: bool = True) -> CommandResult:
        """Run one program over the open connection."""
        import paramiko

        command, text = command_line(self._host, argv, become=become)
        connection = self._open()
        try:
            channel = connection.transport.open_session(timeout=self._host.connection.timeout_s)
            with closing(channel):
                result = self._converse(channel, command, text, time.monotonic() + timeout_s)
        except TimeoutError:
            raise Unreachable(f"no answer within {timeout_s:.0f} s", where=self._host.name) from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            reason, hint = _plain(error)
            raise Unreachable(f"the connection broke: {reason}", where=self._host.name, hint=hint) from None
        return answered(self._host, result)

    def _converse(self, channel: Any, command: str, text: str, deadline: float) -> CommandResult:
        out, err = bytearray(), bytearray()
        channel.exec_command(command)
        if text:
            channel.sendall(text.encode())
        channel.shutdown_write()
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            channel.settimeout(min(left, POLL_S))
            while channel.recv_stderr_ready():
                err += channel.recv_stderr(BLOCK_BYTES)
                check_size(self._host.name, out, err)
            try:
                block = channel.recv(BLOCK_BYTES)
            except TimeoutError:
                continue
            if not block:
                break
            out += block
            check_size(self._host.name, out, err)
        while block := channel.recv_stderr(BLOCK_BYTES):
            err += block
            check_size(self._host.name, out, err)
        code = channel.recv_exit_status()
        return CommandResult(code, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
