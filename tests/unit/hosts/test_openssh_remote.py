"""What ssh is called with: nothing that its configuration holds gets past the fleet's own known_hosts."""

import subprocess
from pathlib import Path

import pytest

from strixfleet.hosts.openssh_remote import OpensshRemote
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.tools.ansible_playbook import PlayRequest, ssh_arguments


HOSTILE = """Host *
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  KnownHostsCommand /usr/bin/echo %H ssh-ed25519 AAAA
  VerifyHostKeyDNS yes
  NoHostAuthenticationForLocalhost yes
  ControlPath /run/unverified
  ControlMaster auto
"""


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Let `ssh` print what it would do; return the arguments that name a hostile configuration."""
    (tmp_path / "config").write_text(HOSTILE)
    program = tmp_path / "ssh"
    program.write_text('#!/bin/sh\nexec /usr/bin/ssh -G "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return "-F", str(tmp_path / "config")


def settings(printed: str) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in printed.splitlines() if " " in line)


def check(found: dict[str, str], known_hosts: str) -> None:
    assert found["stricthostkeychecking"] == "true"
    assert found["userknownhostsfile"] == known_hosts
    assert found["globalknownhostsfile"] == "/dev/null"
    assert found["verifyhostkeydns"] == "false"
    assert found["nohostauthenticationforlocalhost"] == "no"
    assert "knownhostscommand" not in found
    assert found.get("controlpath") != "/run/unverified"


def ask(*arguments: str) -> dict[str, str]:
    connection = Connection("192.0.2.1", ssh_common_args=arguments, become=False)
    remote = OpensshRemote(Host("h1", connection, HostSettings()), "/fleet/known_hosts")
    return settings(remote.run(["true"], timeout_s=20).stdout)


def test_a_configuration_that_vouches_for_any_key_enrols_nobody(arguments: tuple[str, str]) -> None:
    check(ask(*arguments), "/fleet/known_hosts")


def test_nor_do_arguments_of_the_inventory(arguments: tuple[str, str]) -> None:
    del arguments
    check(ask("-o", "ControlPath=/run/unverified", "-o", "ControlMaster=auto"), "/fleet/known_hosts")


def test_nor_does_it_in_a_play(arguments: tuple[str, str], tmp_path: Path) -> None:
    request = PlayRequest("provision.yml", (), "all", "/fleet/known_hosts")
    argv = ["ssh", *ssh_arguments(request, tmp_path), *arguments, "192.0.2.1"]  # Ansible's order
    printed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    check(settings(printed), "/fleet/known_hosts")
