"""fabric against an SSH server in this process: keys that are unknown or changed are refused by type."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from pydantic import SecretStr

from strixfleet.errors import HostError, HostKeyError, Unreachable
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
