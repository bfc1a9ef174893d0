"""`strixfleet audit`: hold the live state against the desired state, one round trip a host."""

import click

from strixfleet.commands.options import Options, fleet_options
from strixfleet.commands.session import finish, host_report, load_fleet, look_at_all, now
from strixfleet.errors import ExitCode
from strixfleet.report.output import show


@click.command()
@fleet_options
@click.option("-a", "--all", "everything", is_flag=True, help="Show items that are as desired, too.")
def audit(options: Options, *, everything: bool) -> ExitCode:
    """
    Hold the live state of each host against its desired state.

    Reads only: one connection and one round trip a host. Exit code 0 as desired, 1 drift or a reboot
    pending, 3 a host unreachable or unreadable.
    """
    started = now()
    fleet = load_fleet(options)
    seen = look_at_all(fleet, fleet.hosts, options.forks)
    report = finish("audit", started, (host_report(name, one) for name, one in seen.items()))
    show(report, as_json=options.as_json, output=options.output, everything=everything)
    return report.exit_code
