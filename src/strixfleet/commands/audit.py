"""`strixfleet audit`: hold the live state against the desired state, one round trip a host."""

import json
from pathlib import Path

import click

from strixfleet.errors import ExitCode, FleetError
from strixfleet.fleet.options import Options, fleet_options
from strixfleet.fleet.session import ProbedHost, finish, host_report, load_fleet, look_at_all, now
from strixfleet.report.output import show


def _record(folder: Path, seen: dict[str, ProbedHost | FleetError]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, one in seen.items():
        if isinstance(one, ProbedHost):
            text = json.dumps(one.answers.to_json(), indent=1)
            (folder / f"{name}.answers.json").write_text(text + "\n", encoding="utf-8")


@click.command()
@fleet_options
@click.option("-a", "--all", "everything", is_flag=True, help="Show items that are as desired, too.")
@click.option(
    "--record",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write what each host answered into FOLDER: the core of a bug report.",
)
def audit(options: Options, *, everything: bool, record: Path | None) -> ExitCode:
    """
    Hold the live state of each host against its desired state.

    Reads only: one connection and one round trip a host. Exit code 0 as desired, 1 drift or a reboot
    pending, 3 a host unreachable or unreadable.
    """
    started = now()
    fleet = load_fleet(options)
    seen = look_at_all(fleet, fleet.hosts, options.forks)
    if record is not None:
        _record(record, seen)
    report = finish("audit", started, (host_report(name, one) for name, one in seen.items()))
    show(report, as_json=options.as_json, output=options.output, everything=everything)
    return report.exit_code
