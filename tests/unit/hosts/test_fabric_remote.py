"""fabric against an SSH server in this process: keys that are unknown or changed are refused by type."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from pydantic import SecretStr

from strixfleet.errors import HostError, HostKeyError, Unreachable
from strixfleet.hosts.fabric_remote import _failure
from strixfleet.hosts.reach import remote_for
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.settings import HostSettings


KEY, OTHER_KEY = paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()


class Server(paramiko.ServerInterface):  # type: ignore[misc] # paramiko has no types
    """Lets nobody in."""

    def get_allowed_auths(self, _username: str) -> str:
        return "password"


@pytest.fixture
def port() -> Iterator[int]:
    """Serve one connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    transports = []

    def serve() -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        transport = paramiko.Transport(client)
        transports.append(transport)
        transport.add_server_key(KEY)
        transport.start_server(server=Server(), event=threading.Event())

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    thread.join(10)
    for transport in transports:
        transport.close()
    listener.close()


def refusal(port: int, known_hosts: Path) -> HostError:
    connection = Connection("127.0.0.1", port, "admin", password=SecretStr("x"), timeout_s=5)
    remote = remote_for(Host("h1", connection, HostSettings()), str(known_hosts))
    with pytest.raises(HostError) as caught:
        remote.run(["true"], timeout_s=5)
    remote.close()
    return caught.value


def enrolled(path: Path, port: int, key: paramiko.PKey) -> Path:
    path.write_text(f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n")
    return path


def test_an_unknown_key_is_refused(port: int, tmp_path: Path) -> None:
    error = refusal(port, tmp_path / "known_hosts")
    assert isinstance(error, HostKeyError)
    assert (error.where, error.message) == ("h1", f"the host key of 127.0.0.1:{port} is unknown")
    assert "strixfleet trust -l h1" in error.hint


def test_a_changed_key_is_refused(port: int, tmp_path: Path) -> None:
    error = refusal(port, enrolled(tmp_path / "known_hosts", port, OTHER_KEY))
    assert isinstance(error, HostKeyError)
    assert "is not the enrolled one" in error.message


def test_a_refused_login_is_not_a_matter_of_keys(port: int, tmp_path: Path) -> None:
    error = refusal(port, enrolled(tmp_path / "known_hosts", port, KEY))
    assert isinstance(error, Unreachable)
    assert "refused the login as admin" in error.message


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    error = refusal(port, tmp_path / "known_hosts")
    assert isinstance(error, Unreachable)
    assert f"unreachable at 127.0.0.1:{port}" in error.message


SILENT = """
import socket, sys
from pathlib import Path
from strixfleet.errors import HostError
from strixfleet.hosts.fabric_remote import _failure
from strixfleet.hosts.reach import remote_for
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.settings import HostSettings

listener = socket.create_server(("127.0.0.1", 0))
connection = Connection("127.0.0.1", listener.getsockname()[1], "admin", timeout_s=1)
try:
    remote_for(Host("h1", connection, HostSettings()), "absent").run(["true"], timeout_s=1)
except HostError as error:
    print(error)
"""


def test_a_server_that_says_nothing_is_one_clear_sentence() -> None:
    """In a process of its own: here pytest takes what libraries log."""
    done = subprocess.run([sys.executable, "-c", SILENT], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    assert "took the connection and did not finish the handshake in time; hint: try again later" in line


@pytest.mark.parametrize("said", ["No existing session", "Error reading SSH protocol banner"])
def test_what_paramiko_says_is_put_in_plain_words(said: str) -> None:
    host = Host("h1", Connection("192.0.2.1"), HostSettings())
    for error in (paramiko.SSHException(said), paramiko.AuthenticationException(said)):
        text = str(_failure(host, error))
        assert said not in text
        assert "refused the login" not in text
        assert "hint: try again later, or give it longer with ansible_timeout" in text
