"""`strixfleet plan`: what provision would change on each host, and the cost."""

from datetime import datetime

import click

from strixfleet.errors import ExitCode, FleetError
from strixfleet.findings.items import Difference
from strixfleet.findings.results import Report
from strixfleet.fleet.forecast import forecast
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
from strixfleet.inventory.files.paths import folder_of
from strixfleet.inventory.schema.fleet_model import Fleet
from strixfleet.managed.llama_cpp.defects import unknown_build
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


def plan_report(fleet: Fleet, probed: dict[str, ProbedHost | FleetError], started: datetime) -> Report:
    """Return the plan of all hosts."""
    hosts, folder = [], folder_of(fleet.source)
    for name, one in probed.items():
        if isinstance(one, FleetError):
            extra: dict[str, Json] = {"changes": []}
        else:
            known = forecast(one, folder)
            extra = {"changes": changes(one.differences), "forecast": known.to_json()}
            ref = one.state.host.settings.llama_cpp_ref
            if known.builds and ref is not None and one.state.pinned_build is None:
                extra["notes"] = [unknown_build(ref)]
        hosts.append(with_extra(host_report(name, one), extra))
    return finish("plan", started, hosts)


@click.command()
@fleet_options
def plan(options: Options) -> ExitCode:
    """
    Show what provision would change on each host, old → new, the cost, and why it would be refused.

    Changes nothing. Exit code 0: nothing to change, 1: something to change.
    """
    started = now()
    fleet = load_fleet(options)
    probed = look_at_all(fleet, fleet.hosts, options.forks)
    return conclude(plan_report(fleet, probed, started), options)
