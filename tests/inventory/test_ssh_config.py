"""What ~/.ssh/config says of a host holds for strixfleet as for Ansible."""

from pathlib import Path

import pytest

from strixfleet.adapters.inventory_connection import connection
from strixfleet.adapters.ssh_config import may_concern


CONFIG = """
Host halo other
    HostName 192.0.2.7
    Port 2222
    User admin
    ProxyJump bastion
Host *
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give ssh a configuration; OpenSSH itself takes the home from the account, so it is named to it."""
    config = tmp_path / ".ssh" / "config"
    config.parent.mkdir()
    config.write_text(CONFIG)
    program = tmp_path / "ssh"
    program.write_text(f'#!/bin/sh\n[ "$1" = -F ] || set -- -F {config} "$@"\nexec /usr/bin/ssh "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


@pytest.mark.usefixtures("home")
def test_an_alias_is_what_ssh_makes_of_it() -> None:
    found, problems = connection("halo", {}, {})
    assert problems == ()
    assert (found.address, found.port, found.user) == ("192.0.2.7", 2222, "admin")
    assert (found.ssh_common_args, found.proxy_jump) == (("-o", "proxyjump=bastion"), "bastion")


@pytest.mark.usefixtures("home")
def test_the_inventory_wins() -> None:
    given: dict[str, object] = {"ansible_host": "halo", "ansible_port": 22022, "ansible_user": "root"}
    found, _problems = connection("h1", given, {})
    assert (found.address, found.port, found.user, found.become) == ("192.0.2.7", 22022, "root", False)


@pytest.mark.usefixtures("home")
def test_other_names_are_left_alone() -> None:
    found, _problems = connection("h1", {"ansible_host": "192.0.2.9"}, {})
    assert (found.address, found.port, found.user, found.ssh_common_args) == ("192.0.2.9", 22, None, ())


@pytest.mark.parametrize(
    ("text", "concerned"),
    [
        ("Host halo\n  Port 1\n", True),
        ("Host ha*\n  Port 1\n", True),
        ("Host other\n  Port 1\n", False),
        ("Host *\n", False),
        ("User x\n", True),
        ("Host=halo\nPort=1\n", True),
        ("Match user x\n", True),
        ("# Host halo\n# Port 1\n", False),
        ("", False),
    ],
)
def test_ssh_is_asked_only_where_it_may_know(text: str, concerned: bool) -> None:
    assert may_concern(text, "halo") is concerned
