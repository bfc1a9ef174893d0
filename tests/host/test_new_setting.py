"""The example of CONTRIBUTING on a real host: its few lines apply, audit and heal a new setting."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from strixfleet.sandbox import lifecycle
from strixfleet.sandbox.boxes import HARDWARE_ROOT, Sandbox, SandboxRequest
from tests.fixtures.example_checkout import ExampleCheckout, example_checkout
from tests.host.outside import reboot, root


pytestmark = pytest.mark.host
HOST = "swap-1"
FILE = "/etc/sysctl.d/60-strixfleet.conf"
LIVE = f"{HARDWARE_ROOT}/proc/sys/vm/swappiness"
IDS = {"tuning:vm.swappiness", f"tuning:{FILE}"}
PLAY = """
- hosts: all
  become: true
  gather_facts: false
  roles: [strixfleet.fleet.tuning]
"""


@dataclass(frozen=True)
class Contributor:
    """Someone who added the setting, with a host to try it on."""

    copy: ExampleCheckout
    sandbox: Sandbox

    def apply(self) -> str:
        """Run the role alone under plain ansible-playbook; return the line of its recap."""
        play = self.copy.folder / "play.yml"
        play.write_text(PLAY)
        known = f"-o UserKnownHostsFile={self.sandbox.known_hosts}"
        flags = ("-i", str(self.sandbox.inventory), "--ssh-common-args", known, str(play))
        done = self.copy.run("ansible-playbook", *flags)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()[-1] or done.stdout.splitlines()[-2]

    def audited(self) -> dict[str, dict[str, Any]]:
        """Return the rows of the role's items by id."""
        done = self.copy.run("strixfleet", "audit", "-i", str(self.sandbox.inventory), "--all", "--json")
        rows = json.loads(done.stdout)["hosts"][HOST]["items"]
        return {row["id"]: row for row in rows if row["id"].startswith("tuning:")}

    def drift(self) -> set[str]:
        """Return the ids of the role's items that are not as wanted."""
        return {name for name, row in self.audited().items() if row["status"] != "ok"}


@pytest.fixture(scope="module")
def contributor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contributor]:
    copy = example_checkout(tmp_path_factory.mktemp("checkout"))
    made = lifecycle.create(SandboxRequest(name="swap", hosts=1))
    try:
        variables = made.inventory / "group_vars" / "all.yml"
        variables.parent.mkdir()
        variables.write_text("tuning_swappiness: 10\n")
        yield Contributor(copy, made)
    finally:
        lifecycle.destroy("swap")


def test_a_new_setting_is_applied_audited_and_healed(contributor: Contributor) -> None:
    sandbox = contributor.sandbox
    assert root(sandbox, HOST, f"cat {LIVE}").strip() == "60"
    assert contributor.drift() >= IDS

    contributor.apply()
    rows = contributor.audited()
    assert contributor.drift() == set()
    assert rows["tuning:vm.swappiness"]["have"] == "10"
    assert rows[f"tuning:{FILE}"]["have"]["sha256"] == root(sandbox, HOST, f"sha256sum {FILE}").split()[0]
    assert root(sandbox, HOST, f"cat {LIVE} {FILE}").splitlines() == ["10", "vm.swappiness = 10"]
    assert "changed=0" in contributor.apply()

    root(sandbox, HOST, f"echo 60 >{LIVE}; echo 'vm.swappiness = 100' >{FILE}")
    rows = contributor.audited()
    assert contributor.drift() == IDS
    assert rows["tuning:vm.swappiness"]["have"] == "60"

    assert "changed=1" in contributor.apply()
    assert contributor.drift() == set()

    reboot(sandbox, HOST)
    assert contributor.drift() == set()
