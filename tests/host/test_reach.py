"""Who cannot be reached is named, and stops nobody else."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL

import pytest

from strixfleet.sandbox import lifecycle, machine
from strixfleet.sandbox.boxes import Sandbox, SandboxRequest
from tests.conftest import Run
from tests.host.outside import root


pytestmark = pytest.mark.host


def test_the_others_finish(strixfleet: Run) -> None:
    made = lifecycle.create(SandboxRequest(name="reach", hosts=3))
    try:
        machine.power_off(made.host("reach-2"))

        done = strixfleet("provision", "-i", str(made.inventory), "--yes", "--reboot", "auto", "--json")

        document = json.loads(done.stdout)
        assert done.returncode == document["exit_code"] == 3
        assert document["hosts"]["reach-2"]["reachable"] is False
        assert "10.231." in document["hosts"]["reach-2"]["error"]
        for name in ("reach-1", "reach-3"):
            assert "ttm.pages_limit=" in root(made, name, "cat /run/strixfleet-sandbox/hardware/proc/cmdline")
    finally:
        lifecycle.destroy("reach")


@pytest.fixture(scope="module")
def made() -> Iterator[Sandbox]:
    """Make one bare host for all that is about the way in; sshd shuts nobody out for refused attempts."""
    made = lifecycle.create(SandboxRequest(name="keys", hosts=1))
    patient = "echo PerSourcePenalties no > /etc/ssh/sshd_config.d/00-patient.conf"
    root(made, made.hosts[0].name, f"{patient} && systemctl reload ssh")
    yield made
    lifecycle.destroy("keys")


def test_unknown_and_changed_keys_are_refused_until_trusted(strixfleet: Run, made: Sandbox) -> None:
    inventory = str(made.inventory)
    kept = made.known_hosts.read_text()
    made.known_hosts.write_text("")
    unknown = strixfleet("audit", "-i", inventory)
    trusted = strixfleet("trust", "-i", inventory, "--yes")
    enrolled = {line.split()[2] for line in made.known_hosts.read_text().splitlines()}
    known = strixfleet("audit", "-i", inventory)
    forged = "AAAAC3NzaC1lZDI1NTE5AAAAIJ2o6Zb2Z3Vn0kq5K3bXHq4l7cYJ0k2lXo8m0b7m1y2Z"
    made.known_hosts.write_text(f"{made.hosts[0].address} ssh-ed25519 {forged}\n")
    changed = strixfleet("audit", "-i", inventory)
    refused = strixfleet("trust", "-i", inventory, "--yes")
    made.known_hosts.write_text(kept)

    assert (unknown.returncode, "strixfleet trust" in unknown.stdout) == (3, True)
    assert trusted.returncode == 0
    assert enrolled >= {line.split()[2] for line in kept.splitlines()}
    assert known.returncode in {0, 1}
    assert changed.returncode == 3
    assert refused.returncode == 3
    assert "--replace" in refused.stderr


def test_ssh_s_own_configuration_enrols_nobody(strixfleet: Run, made: Sandbox, tmp_path: Path) -> None:
    host = made.hosts[0].name
    kept = made.known_hosts.read_text()
    key = " ".join(kept.splitlines()[0].split()[1:3])
    vouching = f"KnownHostsCommand /usr/bin/echo {made.hosts[0].address} {key}"
    master = tmp_path / "master"
    subprocess.run(
        ["ssh", "-F", str(made.ssh_config), "-fNM", "-S", str(master), host], check=True, stdout=DEVNULL
    )
    made.known_hosts.write_text("")
    try:
        for option in (vouching, f"ControlPath {master}"):
            config = tmp_path / "config"
            config.write_text(f"{made.ssh_config.read_text()}\nHost *\n  {option}\n")
            common = f"ansible_ssh_common_args='-F {config}'"
            done = strixfleet("audit", "-i", str(made.inventory), "-e", common)
            assert (done.returncode, "strixfleet trust" in done.stdout) == (3, True), done.stdout
    finally:
        made.known_hosts.write_text(kept)
        subprocess.run(["ssh", "-S", str(master), "-O", "exit", host], check=True, stderr=DEVNULL)


def test_a_wrong_become_password_is_called_wrong(strixfleet: Run, made: Sandbox) -> None:
    """The last one here: from now on the host wants a password."""
    wants_one = "echo strix:geheim | chpasswd && sed -i s/NOPASSWD:// /etc/sudoers.d/strix"
    root(made, made.hosts[0].name, wants_one)

    missing, wrong, right = (
        strixfleet("audit", "-i", str(made.inventory), *words)
        for words in ([], ["-e", "ansible_become_password=x"], ["-e", "ansible_become_password=geheim"])
    )

    assert (missing.returncode, "sudo wants a password" in missing.stdout) == (3, True), missing.stdout
    assert (wrong.returncode, "did not accept the become password" in wrong.stdout) == (3, True), wrong.stdout
    assert right.returncode == 1, right.stdout
