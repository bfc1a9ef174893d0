"""`strixfleet rollback`: back to the previous build; needs no network and no compiler."""

import time

import click

from strixfleet.errors import ChangeFailed, ExitCode, FleetError, HostError, UsageError
from strixfleet.findings.results import HostReport
from strixfleet.fleet.options import Options, change_options, fleet_options
from strixfleet.fleet.session import finish, load_fleet, now
from strixfleet.hosts.fan_out import fan_out
from strixfleet.hosts.host_program import SWITCH_TIMEOUT_S, HostProgram
from strixfleet.hosts.reach import remote_for
from strixfleet.inventory.schema.fleet_model import Fleet, Host
from strixfleet.report.output import show
from strixfleet.rollout.fleet_lock import FleetLock
from strixfleet.rollout.gate_watch import Watch


def _nothing(_text: str) -> None:
    """Hear of nothing: a rollback is over before a heartbeat could matter."""


def roll_back(host: Host, fleet: Fleet, token: int | None, *, retry: bool, check: bool) -> HostReport:
    """Take one host back; its servers have to answer afterwards."""
    started = time.monotonic()
    remote, before = remote_for(host, fleet.known_hosts), None
    try:
        program = HostProgram(host.name, remote, token)
        before = program.call("status")
        if check:
            row = {"outcome": "skipped", "from": before.current, "to": before.previous}
            return HostReport(host.name, reachable=True, extra=row)
        answer = program.must("rollback", *(["--retry"] if retry else []), timeout_s=SWITCH_TIMEOUT_S)
        problem = Watch(host, fleet.known_hosts).settled(remote)
    except HostError as error:
        if before is None:
            raise
        hint = "run `strixfleet status`: it may have been switched"
        raise ChangeFailed(f"lost on the way: {error.message}", where=host.name, hint=hint) from None
    finally:
        remote.close()
    return HostReport(
        host.name,
        reachable=True,
        error=f"{answer.current} is back, but {problem}" if problem else None,
        seconds=time.monotonic() - started,
        extra={
            "outcome": "failed" if problem else "returned",
            "from": before.current,
            "to": answer.current,
            "ref": answer.refused[-1]["ref"] if answer.refused else None,
            "notes": [f"rolled back: {before.current} → {answer.current}"],
        },
        code=ExitCode.FAILED if problem else ExitCode.OK,
    )


@click.command()
@fleet_options
@change_options
@click.option("--retry", is_flag=True, help="Go back even to a build that was found bad before.")
def rollback(options: Options, *, yes: bool, check: bool, diff: bool, retry: bool) -> ExitCode:  # noqa: ARG001
    """
    Switch hosts back to their previous build and restart their servers.

    The build that is left is remembered as bad: `upgrade` refuses its ref without --retry, and `provision`
    leaves the host as it is.
    """
    started = now()
    fleet = load_fleet(options)
    names = ", ".join(host.name for host in fleet.hosts)
    if not (yes or check) and not click.confirm(f"Go back to the previous build on {names}?", err=True):
        raise UsageError("nothing was changed")
    lock = FleetLock(lambda host: remote_for(host, fleet.known_hosts), _nothing, _nothing)
    try:
        unreachable = {} if check else lock.take(fleet.hosts)
        lock.start()
        hosts = [host for host in fleet.hosts if host.name not in unreachable]
        found = fan_out(
            hosts,
            lambda host: roll_back(host, fleet, lock.tokens.get(host.name), retry=retry, check=check),
            forks=options.forks,
        )
    finally:
        lock.release()
    rows = {**unreachable, **found}
    reports = (
        HostReport.of_error(host.name, row) if isinstance(row := rows[host.name], FleetError) else row
        for host in fleet.hosts
    )
    report = finish("rollback", started, reports)
    show(report, as_json=options.as_json, output=options.output)
    return report.exit_code
