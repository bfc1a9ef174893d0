"""
Run commands on a host: one connection, known host keys only.

fabric accepts any host key by default (fabric#2071, connection.py sets AutoAddPolicy); here an unknown or
changed key is refused before anything is sent. Connections that need what paramiko lacks (jump hosts,
ssh options) go through the system's own ssh.
"""

import shlex
import subprocess
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from strixfleet.adapters.probe import probe_argv, read_answers
from strixfleet.core.fleet import Host
from strixfleet.core.questions import Answers, Question
from strixfleet.errors import HostKeyError, ProbeFailed, Unreachable


if TYPE_CHECKING:
    from collections.abc import Callable

CONNECT_TIMEOUT_S = 8.0


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
    """Give the shell-quoted command and what goes to its standard input (sudo's password, or nothing)."""
    connection = host.connection
    if not become or not connection.become:
        return shlex.join(argv), ""
    sudo = connection.become_exe or "sudo"
    user = ["-u", connection.become_user]
    if connection.become_password is None:
        return shlex.join([sudo, "-n", *user, "--", *argv]), ""
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
            *("-o", f"ConnectTimeout={int(CONNECT_TIMEOUT_S)}", "-o", "ServerAliveInterval=15"),
            *("-p", str(connection.port), *key, *user, *connection.ssh_common_args),
            *("--", connection.address, command),
        ]
        result = _run_here(self._host.name, ssh, text, timeout_s)
        if result.exit_code != 255:  # noqa: PLR2004 - ssh's own failures are 255, see ssh(1)
            return result
        reason = (result.stderr.strip() or "ssh failed").splitlines()[-1]
        if "host key" in result.stderr.lower():
            raise HostKeyError(reason, where=self._host.name, hint=_trust_hint(self._host))
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


def _trust_hint(host: Host) -> str:
    return f"compare the key with the host's console, then `strixfleet trust -l {host.name}`"


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
        timing = {"banner_timeout": CONNECT_TIMEOUT_S, "auth_timeout": CONNECT_TIMEOUT_S}
        connection = fabric.Connection(
            wish.address,
            user=wish.user or None,
            port=wish.port,
            config=config,
            connect_timeout=CONNECT_TIMEOUT_S,
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
                hint=_trust_hint(self._host),
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
                    f"the host key of {place} is unknown", where=name, hint=_trust_hint(self._host)
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
            channel = connection.transport.open_session(timeout=CONNECT_TIMEOUT_S)
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
    if host.connection.ssh_common_args:
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
