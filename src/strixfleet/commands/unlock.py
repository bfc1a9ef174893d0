"""`strixfleet unlock`: show who holds the fleet's lock, and remove one that is stale."""

import click

from strixfleet.errors import ExitCode, FleetError
from strixfleet.findings.results import HostReport
from strixfleet.fleet.options import Options, fleet_options
from strixfleet.fleet.progress import say
from strixfleet.fleet.session import finish, load_fleet, now, said_yes
from strixfleet.hosts.fan_out import fan_out
from strixfleet.hosts.host_program import HostAnswer, HostProgram
from strixfleet.hosts.reach import remote_for
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.report.output import show
from strixfleet.rollout.refuse_busy import statuses


def _free(host: Host, known_hosts: str) -> HostAnswer:
    remote = remote_for(host, known_hosts)
    try:
        return HostProgram(host.name, remote).must("unlock", "--force")
    finally:
        remote.close()


def describe(answer: HostAnswer) -> str:
    """Say who holds a host's lock, and when it was last heard of."""
    lock = answer.lock
    if not lock:
        return "not locked"
    ago = float(lock["length_s"]) - float(lock["left_s"])
    return f"locked by {lock['owner']} since {lock['since']}, heard of {ago:.0f} s ago"


def _row(name: str, found: HostAnswer | FleetError, *, freed: bool) -> HostReport:
    if isinstance(found, FleetError):
        return HostReport.of_error(name, found)
    text = f"freed; it was {describe(found)}" if freed else describe(found)
    lock = {key: found.lock.get(key) for key in ("owner", "since", "token", "left_s")}
    return HostReport(name, reachable=True, extra={"lock": lock, "freed": freed, "notes": [text]})


@click.command()
@fleet_options
@click.option("--yes", is_flag=True, help="Ask nothing.")
def unlock(options: Options, *, yes: bool) -> ExitCode:
    """
    Show who holds the fleet's lock, and remove it on consent.

    A dead holder's lock frees itself within 45 seconds. A holder that still lives stops its rollout when its
    lock is taken away, and the hosts on trial go back.
    """
    started = now()
    fleet = load_fleet(options)
    found = statuses(fleet.hosts, fleet.known_hosts, options.forks)
    held = {name for name, one in found.items() if isinstance(one, HostAnswer) and one.lock}
    for name in sorted(held):
        one = found[name]
        say(f"{name}: {describe(one) if isinstance(one, HostAnswer) else one}")
    freed: set[str] = set()
    if held and (yes or said_yes("Take the lock away?")):
        hosts = [host for host in fleet.hosts if host.name in held]
        done = fan_out(hosts, lambda host: _free(host, fleet.known_hosts))
        freed = {name for name, one in done.items() if isinstance(one, HostAnswer)}
        found |= {name: one for name, one in done.items() if isinstance(one, FleetError)}
    rows = (_row(host.name, found[host.name], freed=host.name in freed) for host in fleet.hosts)
    report = finish("unlock", started, rows)
    show(report, as_json=options.as_json, output=options.output)
    return report.exit_code
