"""Ansible's connection variables, as Ansible means them."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from strixfleet.hosts.remote import SUDO_ASKS, command_line
from strixfleet.inventory.ansible.connections import connection
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.settings import HostSettings


def made(values: dict[str, object], defaults: dict[str, object] | None = None) -> Connection:
    found, problems = connection("h1", values, defaults or {})
    assert problems == ()
    return found


def wrong(values: dict[str, object]) -> list[str]:
    _, problems = connection("h1", values, {})
    assert all(problem.hint for problem in problems)
    return [str(problem.path[0]) for problem in problems]


def test_the_standard_variables() -> None:
    found = made(
        {
            "ansible_host": "192.0.2.1",
            "ansible_port": "2222",
            "ansible_user": "admin",
            "ansible_ssh_private_key_file": "~/.ssh/id",
            "ansible_ssh_common_args": "-J bastion -o ServerAliveInterval=5",
            "ansible_become": "yes",
            "ansible_become_exe": "/usr/bin/sudo.ws",
            "ansible_become_password": "geheim",
            "ansible_python_interpreter": "/usr/bin/python3",
        }
    )
    assert found == Connection(
        address="192.0.2.1",
        port=2222,
        user="admin",
        private_key_file=str(Path("~/.ssh/id").expanduser()),
        ssh_common_args=("-J", "bastion", "-o", "ServerAliveInterval=5"),
        proxied=True,
        become=True,
        become_exe="/usr/bin/sudo.ws",
        become_password=SecretStr("geheim"),
        python="/usr/bin/python3",
    )


def test_older_spellings() -> None:
    found = made({"ansible_ssh_user": "old", "ansible_ssh_port": 23, "ansible_private_key_file": "/k"})
    assert (found.user, found.port, found.private_key_file) == ("old", 23, "/k")


def test_ansible_cfg_gives_way() -> None:
    defaults: dict[str, object] = {"ansible_user": "cfg", "ansible_port": 24, "ansible_timeout": 30}
    assert made({}, defaults).user == "cfg"
    assert made({"ansible_user": "mine"}, defaults).user == "mine"
    assert made({}, defaults).timeout_s == 30


def test_root_needs_no_sudo_unless_asked() -> None:
    assert not made({"ansible_user": "root"}).become
    assert made({"ansible_user": "root", "ansible_become": True}).become
    assert not made({"ansible_user": "admin", "ansible_become": False}).become


def test_local_and_addresses() -> None:
    assert made({"ansible_connection": "local"}).local
    assert made({"ansible_host": "[2001:db8::1]"}).address == "2001:db8::1"
    assert made({"ansible_host": "2001:db8::1"}).address == "2001:db8::1"
    assert made({"ansible_host": "box.example.org"}).address == "box.example.org"


@pytest.mark.parametrize(
    ("arguments", "proxied"),
    [
        ("-J b", True),
        ("-Jb,c", True),
        ("-o ProxyJump=b", True),
        ("-oProxyCommand='nc %h 22'", True),
        ("-o ServerAliveInterval=5", False),
    ],
)
def test_ways_through_another_host(arguments: str, *, proxied: bool) -> None:
    assert made({"ansible_ssh_common_args": arguments}).proxied is proxied


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ansible_host", "-oProxyCommand=id"),
        ("ansible_host", "a b"),
        ("ansible_host", "a;id"),
        ("ansible_host", True),
        ("ansible_port", 0),
        ("ansible_port", "22; id"),
        ("ansible_port", True),
        ("ansible_user", "-l"),
        ("ansible_user", "a b"),
        ("ansible_ssh_private_key_file", "-i"),
        ("ansible_become", "perhaps"),
        ("ansible_become_method", "doas"),
        ("ansible_become_exe", "-u"),
        ("ansible_become_password", "a\nb"),
        ("ansible_connection", "winrm"),
        ("ansible_ssh_common_args", "-o 'unclosed"),
        ("ansible_ssh_common_args", "-o StrictHostKeyChecking=no"),
        ("ansible_ssh_extra_args", "-oUserKnownHostsFile=/dev/null"),
        ("ansible_ssh_common_args", "-o KnownHostsCommand='/usr/bin/echo %H ssh-ed25519 AAAA'"),
        ("ansible_ssh_common_args", "-o VerifyHostKeyDNS=yes"),
        ("ansible_ssh_common_args", "-oNoHostAuthenticationForLocalhost yes"),
        ("ansible_ssh_common_args", "-S /run/somebody/master"),
        ("ansible_ssh_extra_args", "-4S/run/somebody/master"),
        ("ansible_ssh_common_args", "-M"),
        ("ansible_ssh_common_args", "-O exit"),
        ("ansible_ssh_common_args", "--nonsense"),
        ("ansible_ssh_common_args", "-v other.example.org"),
        ("ansible_ssh_common_args", "-J a\n-J b"),
        ("ansible_timeout", -1),
    ],
)
def test_what_is_refused(name: str, value: object) -> None:
    assert wrong({name: value}) == [name]


def test_a_host_whose_name_is_no_address() -> None:
    _, problems = connection("the box", {}, {})
    assert [problem.path for problem in problems] == [("ansible_host",)]


@pytest.mark.parametrize("word", ["auto", "auto_silent", "auto_legacy"])
def test_an_interpreter_that_ansible_finds_is_no_program(word: str) -> None:
    assert made({"ansible_python_interpreter": word}).python is None


def test_sudos_flags_are_words() -> None:
    found = made({"ansible_become_flags": "-H -n", "ansible_become_password": "geheim"})
    line, text = command_line(Host("h1", found, HostSettings()), ["true"], become=True)
    assert (line, text) == (f"sudo -S -p {SUDO_ASKS} -H -u root -- true", "geheim\n")
    assert wrong({"ansible_become_flags": "'"}) == ["ansible_become_flags"]
