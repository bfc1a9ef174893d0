"""Who cannot be reached is named, and stops nobody else."""

import json

import pytest

from strixfleet.sandbox import lifecycle, machine
from strixfleet.sandbox.boxes import SandboxRequest
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


def test_unknown_and_changed_keys_are_refused_until_trusted(strixfleet: Run) -> None:
    made = lifecycle.create(SandboxRequest(name="keys", hosts=1))
    try:
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

        assert (unknown.returncode, "strixfleet trust" in unknown.stdout) == (3, True)
        assert trusted.returncode == 0
        assert enrolled >= {line.split()[2] for line in kept.splitlines()}
        assert known.returncode in {0, 1}
        assert changed.returncode == 3
        assert refused.returncode == 3
        assert "--replace" in refused.stderr
    finally:
        lifecycle.destroy("keys")
