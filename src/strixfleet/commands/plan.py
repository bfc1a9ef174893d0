"""`strixfleet plan`: what provision would change on each host, and the cost."""

from datetime import datetime

import click

from strixfleet.errors import ExitCode, FleetError
from strixfleet.findings.items import Difference
from strixfleet.findings.results import Report
from strixfleet.fleet.options import Options, fleet_options
from strixfleet.fleet.session import (
    ProbedHost,
    conclude,
    finish,
    host_report,
    load_fleet,
    look_at_all,
    now,
    with_extra,
)
from strixfleet.on_host.questions import Json


def changes(rows: tuple[Difference, ...]) -> list[Json]:
    """Return the `changes[]` of a host's JSON entry: every item that provision would change."""
    return [
        {
            "id": row.id,
            "have": row.have,
            "want": row.want,
            "cost": row.cost.value,
            "status": row.status.value,
            "cure": row.cure.value,
        }
        for row in rows
        if row.calls_for_provision
    ]


def plan_report(probed: dict[str, ProbedHost | FleetError], started: datetime) -> Report:
    """Return the plan of all hosts."""
    hosts = []
    for name, one in probed.items():
        rows = () if isinstance(one, FleetError) else one.differences
        hosts.append(with_extra(host_report(name, one), {"changes": changes(rows)}))
    return finish("plan", started, hosts)


@click.command()
@fleet_options
def plan(options: Options) -> ExitCode:
    """
    Show what provision would change on each host, old → new, and the cost.

    Changes nothing. Exit code 0: nothing to change, 1: something to change.
    """
    started = now()
    fleet = load_fleet(options)
    return conclude(plan_report(look_at_all(fleet, fleet.hosts, options.forks), started), options)
