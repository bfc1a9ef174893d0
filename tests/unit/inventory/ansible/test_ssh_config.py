"""What ssh's own configuration says of a host holds for strixfleet as for Ansible."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from strixfleet.hosts.fabric_remote import FabricRemote
from strixfleet.hosts.host_keys import lookup_name
from strixfleet.hosts.openssh_remote import OpensshRemote
from strixfleet.hosts.reach import remote_for
from strixfleet.inventory.ansible import ssh_config
from strixfleet.inventory.ansible.connections import connection
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.settings import HostSettings


CONFIG = """
Host halo other
    HostName 192.0.2.7
    Port 2222
    User admin
Host behind
    HostName 192.0.2.8
    ProxyJump bastion
    IdentityFile "~/.ssh/my key"
Host named
    HostName 192.0.2.10
    HostKeyAlias the-halo
Host *
    ServerAliveInterval 5
"""


@pytest.fixture(autouse=True)
def _configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give ssh a configuration: it would take that of the account, wherever HOME points."""
    config, program = tmp_path / "config", tmp_path / "ssh"
    config.write_text(CONFIG)
    program.write_text(
        f'#!/bin/sh\ncase " $* " in *" -F "*) ;; *) set -- -F {config} "$@";; esac\nexec /usr/bin/ssh "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    ssh_config._answer.cache_clear()
    yield
    ssh_config._answer.cache_clear()


def made(**values: object) -> Connection:
    found, problems = connection("h1", {f"ansible_{key}": value for key, value in values.items()}, {})
    assert problems == ()
    return found


def test_a_place_is_what_ssh_makes_of_it_and_fabric_goes_there() -> None:
    found = made(host="halo")
    assert (found.address, found.port, found.user, found.become) == ("192.0.2.7", 2222, "admin", True)
    assert (found.ssh_name, found.proxied, lookup_name(found)) == (None, False, "[192.0.2.7]:2222")
    assert isinstance(remote_for(Host("h1", found, HostSettings()), "/k"), FabricRemote)


def test_the_inventory_wins() -> None:
    found = made(host="halo", port=22022, user="root")
    assert (found.address, found.port, found.user, found.become) == ("192.0.2.7", 22022, "root", False)


def test_what_is_more_than_a_place_is_left_to_ssh_under_the_name_as_written() -> None:
    found = made(host="behind")
    assert (found.ssh_name, found.address, found.proxied) == ("behind", "192.0.2.8", True)
    assert isinstance(remote_for(Host("h1", found, HostSettings()), "/k"), OpensshRemote)


def test_a_key_has_the_name_that_ssh_gives_it() -> None:
    found = made(host="named", password="geheim")
    assert (found.ssh_name, lookup_name(found)) == ("named", "the-halo")
    assert found.password == SecretStr("geheim")
    assert isinstance(
        remote_for(Host("h1", found, HostSettings()), "/k"), FabricRemote
    )  # OpenSSH would ask a terminal


def test_other_names_are_left_alone() -> None:
    found = made(host="192.0.2.9")
    assert (found.address, found.port, found.user, found.ssh_name) == ("192.0.2.9", 22, None, None)


def test_a_file_that_arguments_name_counts_instead(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("Host halo\n  User me\n  ProxyCommand nc %h 22\n")
    found = made(host="halo", ssh_common_args=f"-F {tmp_path}/mine")
    assert (found.address, found.user, found.proxied, found.ssh_name) == ("halo", "me", True, "halo")


def test_what_ssh_refuses_is_a_mistake_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("Host h1\n  Port many\n")
    _, problems = connection("h1", {"ansible_ssh_common_args": f"-F {tmp_path}/broken"}, {})
    assert ["ssh cannot read its configuration" in problem.message for problem in problems] == [True]


def test_ssh_is_asked_once_per_host(tmp_path: Path) -> None:
    program, asked = tmp_path / "ssh", tmp_path / "asked"
    program.write_text(program.read_text().replace("exec ", f'echo "$@" >> {asked}\nexec '))
    for _ in range(2):
        made(host="halo")
        made(host="behind")
    assert len(asked.read_text().splitlines()) == 3  # each host, and the defaults


def test_without_ssh_the_inventory_alone_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    found = made(host="halo")
    assert (found.address, found.port, found.ssh_name) == ("halo", 22, None)
