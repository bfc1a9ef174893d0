"""`strixfleet unlock`: show who holds the fleet's lock, and remove a stale one."""

import click

from strixfleet.errors import ExitCode, FleetError
from strixfleet.findings.results import HostReport
from strixfleet.fleet.options import Options, fleet_options
from strixfleet.fleet.progress import say
from strixfleet.fleet.session import conclude, finish, load_fleet, now, said_yes
from strixfleet.hosts.connections import Connections
from strixfleet.hosts.fan_out import fan_out
from strixfleet.hosts.host_program import HostAnswer, HostProgram
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.on_host.questions import Json
from strixfleet.rollout.refuse_busy import statuses


def describe(answer: HostAnswer) -> str:
    """Return who holds a host's lock, and how long ago it was renewed."""
    lock = answer.lock
    if not lock:
        return "not locked"
    ago = float(lock["length_s"]) - float(lock["left_s"])
    return f"locked by {lock['owner']} since {lock['since']}, renewed {ago:.0f} s ago"


def _free(host: Host, connections: Connections) -> HostAnswer:
    return HostProgram(host.name, connections.to(host)).must("unlock", "--force")


def _row(name: str, before: HostAnswer | FleetError, freed: HostAnswer | FleetError | None) -> HostReport:
    """Report who held the lock of a host; `freed` is what came of removing it, None where it was left."""
    if isinstance(before, FleetError):
        return HostReport.of_error(name, before)
    if isinstance(freed, FleetError):
        return HostReport.of_error(name, freed)
    text = describe(before) if freed is None else f"lock removed; it was {describe(before)}"
    lock = {key: before.lock.get(key) for key in ("owner", "since", "token", "left_s")}
    extra: dict[str, Json] = {"lock": lock, "freed": freed is not None, "notes": [text]}
    return HostReport(name, reachable=True, extra=extra)


@click.command()
@fleet_options
@click.option("--yes", is_flag=True, help="Ask nothing.")
def unlock(options: Options, *, yes: bool) -> ExitCode:
    """
    Show who holds the fleet's lock, and remove it if you agree.

    The lock of a dead holder expires within 45 seconds. A holder that is still alive stops its rollout when
    it loses the lock, and returns its hosts that are on trial.
    """
    started = now()
    fleet = load_fleet(options)
    with Connections.checked_by(fleet.known_hosts) as connections:
        found = statuses(fleet.hosts, connections, options.forks)
        held = {name: one for name, one in found.items() if isinstance(one, HostAnswer) and one.lock}
        for name, one in sorted(held.items()):
            say(f"{name}: {describe(one)}")
        freed: dict[str, HostAnswer | FleetError] = {}
        if held and (yes or said_yes("Remove the lock?")):
            hosts = [host for host in fleet.hosts if host.name in held]
            freed = fan_out(hosts, lambda host: _free(host, connections))
    rows = (_row(host.name, found[host.name], freed.get(host.name)) for host in fleet.hosts)
    return conclude(finish("unlock", started, rows), options)
