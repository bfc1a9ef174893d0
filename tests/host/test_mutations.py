"""Each change by hand is found and named, nothing else is; what `provision` may undo it undoes."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from strixfleet.fleet.session import ProbedHost, look
from strixfleet.hosts.reach import remote_for
from strixfleet.hosts.remote import Remote
from strixfleet.inventory.load import load
from strixfleet.inventory.request import InventoryRequest
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.sandbox import lifecycle
from strixfleet.sandbox.boxes import Sandbox, SandboxRequest
from strixfleet.sandbox.gguf_writer import write_random_llama
from tests.conftest import Run
from tests.host.mutations import BUILDS, ETC, KEPT, LIBRARY, MUTATIONS, STATE, Mutation
from tests.host.outside import root
from tests.host.rollout.conftest import Site, make_upstream, settings


pytestmark = pytest.mark.host
NAME = "mutated"
AT_LEAST = 80
FOLDERS = f"/etc/systemd /etc/default/grub.d {ETC} {STATE} {BUILDS} {LIBRARY}"
KEEP = f"mkdir {KEPT}; cp -a --parents {FOLDERS} {KEPT}"


@dataclass(frozen=True)
class Provisioned:
    """A host in order, and one connection over which it is asked again and again."""

    made: Sandbox
    host: Host
    remote: Remote

    def run(self, line: str) -> None:
        root(self.made, self.host.name, line)

    def look(self) -> ProbedHost:
        return look(self.host, self.remote)

    def named(self) -> frozenset[str]:
        """Name the items that are not as wanted."""
        return frozenset(row.id for row in self.look().differences if row.status != "ok")


@pytest.fixture(scope="module")
def provisioned(tmp_path_factory: pytest.TempPathFactory, strixfleet: Run) -> Iterator[Provisioned]:
    """Provision a host that serves the imitation of llama.cpp."""
    folder = tmp_path_factory.mktemp("mutations")
    model = folder / "tiny.gguf"
    write_random_llama(model, size_bytes_at_least=5_000_000)
    wanted = settings(make_upstream(folder / "upstream"), model)
    wanted["llama_server_instances"][0]["api_key"] = "planted-key"
    try:
        made = lifecycle.create(SandboxRequest(name=NAME, hosts=1, box="framework-desktop"))
        Site(made, folder / "upstream", folder / "state", wanted).write()
        provision(made, strixfleet)
        fleet = load(InventoryRequest((str(made.inventory),)))
        with closing(remote_for(fleet.hosts[0], fleet.known_hosts)) as remote:
            host = Provisioned(made, fleet.hosts[0], remote)
            host.run(KEEP)
            yield host
    finally:
        lifecycle.destroy(NAME)


def provision(made: Sandbox, strixfleet: Run) -> None:
    done = strixfleet("provision", "-i", str(made.inventory), "--yes", "--reboot", "auto")
    assert done.returncode in {0, 1}, done.stdout + done.stderr


def test_the_host_is_in_order(provisioned: Provisioned) -> None:
    assert provisioned.named() == frozenset()
    assert len(MUTATIONS) >= AT_LEAST


@pytest.mark.parametrize("one", MUTATIONS, ids=lambda one: one.name)
def test_one_change_is_named_and_nothing_else(provisioned: Provisioned, one: Mutation) -> None:
    provisioned.run(one.plant)
    try:
        rows = {row.id: row for row in provisioned.look().differences if row.status != "ok"}
    finally:
        provisioned.run(one.undo)

    assert rows.keys() == one.ids, [(row.id, row.have, row.message) for row in rows.values()]
    assert {row.status for row in rows.values()} == {"drift"}
    assert any(row.cure == "provision" for row in rows.values()) is one.heals


def waves() -> list[list[Mutation]]:
    """Divide what `provision` heals into groups that name each item once, the largest first."""
    found: list[list[Mutation]] = []
    for one in (row for row in MUTATIONS if row.heals):
        free = (wave for wave in found if not any(one.ids & other.ids for other in wave))
        wave = next(free, None)
        if wave is None:
            found.append(wave := [])
        wave.append(one)
    return found


WAVES = [
    pytest.param(wave, id=f"{len(wave)} changes", marks=[pytest.mark.soak] if number > 1 else [])
    for number, wave in enumerate(waves())
]


@pytest.mark.parametrize("wave", WAVES)
def test_provision_heals_all_that_it_may(
    provisioned: Provisioned, strixfleet: Run, wave: list[Mutation]
) -> None:
    for one in wave:
        provisioned.run(one.plant)
    assert provisioned.named() == frozenset().union(*(one.ids for one in wave))

    provision(provisioned.made, strixfleet)

    assert provisioned.named() == frozenset()


@pytest.mark.soak
def test_a_hundred_audits_of_a_busy_host_name_nothing(provisioned: Provisioned) -> None:
    """Processes come and go, files change, the servers answer: none of that is drift."""
    churn = (
        "while :; do find /etc /opt /var/lib -type f | xargs sha256sum >/root/sums; date >/var/tmp/x; done"
    )
    provisioned.run(f"systemd-run -q --unit=churn sh -c '{churn}'")
    try:
        assert [provisioned.named() for _ in range(100)] == [frozenset()] * 100
    finally:
        provisioned.run("systemctl stop churn")
