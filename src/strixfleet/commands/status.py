"""`strixfleet status`: what each host runs now, in one round trip per host."""

import time

import click

from strixfleet.errors import ExitCode
from strixfleet.findings.results import HostReport
from strixfleet.fleet.host_status import SIMULATED, needs_attention, questions, status_of
from strixfleet.fleet.options import Options, fleet_options
from strixfleet.fleet.session import conclude, finish, load_fleet, now
from strixfleet.hosts.fan_out import fan_out
from strixfleet.hosts.reach import ask, remote_for
from strixfleet.inventory.schema.fleet_model import Host


def look_at(host: Host, known_hosts: str) -> HostReport:
    """Read the status of one host."""
    started = time.monotonic()
    remote = remote_for(host, known_hosts)
    try:
        answers = ask(remote, host, questions(host))
    finally:
        remote.close()
    rows = status_of(host, answers)
    simulated = answers.text(SIMULATED.verb, SIMULATED.subject)
    code = ExitCode.ATTENTION if needs_attention(rows) else ExitCode.OK
    seconds = time.monotonic() - started
    return HostReport(host.name, True, simulated=simulated or None, seconds=seconds, extra=rows, code=code)


@click.command()
@fleet_options
def status(options: Options) -> ExitCode:
    """
    Show what each host runs now: build, models, health, last measured speed.

    Changes nothing; uses one round trip per host. Exit code 1 if a server does not answer.
    """
    started = now()
    fleet = load_fleet(options)
    found = fan_out(fleet.hosts, lambda host: look_at(host, fleet.known_hosts), forks=options.forks)
    hosts = (HostReport.of(name, one) for name, one in found.items())
    return conclude(finish("status", started, hosts), options)
