"""`strixfleet rollback`: back to the previous build, without network or compiler."""

import click

from strixfleet.errors import ExitCode, FleetError, UsageError
from strixfleet.findings.results import HostReport
from strixfleet.fleet.options import Options, consent_options, fleet_options
from strixfleet.fleet.session import conclude, finish, load_fleet, now
from strixfleet.hosts.connections import Connections
from strixfleet.hosts.fan_out import fan_out
from strixfleet.inventory.schema.fleet_model import Fleet
from strixfleet.rollout.fleet_lock import FleetLock
from strixfleet.rollout.roll_back import preview, roll_back


Rows = dict[str, HostReport | FleetError]


def _ignore(_text: str) -> None:
    """Ignore the heartbeat: each host's own answer tells how its rollback ended."""


def _roll_back_all(fleet: Fleet, connections: Connections, *, retry: bool, forks: int) -> Rows:
    """Switch all hosts back under the fleet's lock."""
    lock = FleetLock(connections, on_lost=_ignore, on_taken=_ignore)
    try:
        unreachable = lock.take(fleet.hosts)
        lock.start()
        hosts = [host for host in fleet.hosts if host.name not in unreachable]
        found = fan_out(
            hosts,
            lambda host: roll_back(host, fleet, connections, lock.tokens.get(host.name), retry=retry),
            forks=forks,
        )
    finally:
        lock.release()
    return {**unreachable, **found}


@click.command()
@fleet_options
@consent_options
@click.option(
    "--retry", is_flag=True, help="Go back even to a build that was returned or rolled back before."
)
def rollback(options: Options, *, yes: bool, check: bool, retry: bool) -> ExitCode:
    """
    Switch hosts back to their previous build and restart their servers.

    The host remembers the build that it leaves as bad: `upgrade` refuses its ref without --retry, and
    `provision` leaves the host as it is.
    """
    started = now()
    fleet = load_fleet(options)
    names = ", ".join(host.name for host in fleet.hosts)
    if not (yes or check) and not click.confirm(f"Go back to the previous build on {names}?", err=True):
        raise UsageError("nothing was changed")
    with Connections.checked_by(fleet.known_hosts) as connections:
        if check:
            rows: Rows = fan_out(fleet.hosts, lambda host: preview(host, connections), forks=options.forks)
        else:
            rows = _roll_back_all(fleet, connections, retry=retry, forks=options.forks)
    reports = (HostReport.of(host.name, rows[host.name]) for host in fleet.hosts)
    return conclude(finish("rollback", started, reports), options)
