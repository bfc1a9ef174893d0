"""`strixfleet audit`: compare the live state with the desired state, in one round trip per host."""

import json
from pathlib import Path

import click

from strixfleet.errors import ExitCode, FleetError
from strixfleet.fleet.moved_tags import with_moved_tags
from strixfleet.fleet.options import Options, fleet_options
from strixfleet.fleet.session import ProbedHost, conclude, finish, host_report, load_fleet, look_at_all, now


def _record(folder: Path, probed: dict[str, ProbedHost | FleetError]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, one in probed.items():
        if isinstance(one, ProbedHost):
            text = json.dumps(one.answers.to_json(), indent=1)
            (folder / f"{name}.answers.json").write_text(text + "\n", encoding="utf-8")


@click.command()
@fleet_options
@click.option("-a", "--all", "everything", is_flag=True, help="Also show items that are as desired.")
@click.option(
    "--record",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the answers of each host into FOLDER, for a bug report.",
)
def audit(options: Options, *, everything: bool, record: Path | None) -> ExitCode:
    """
    Compare the live state of each host with its desired state.

    Changes nothing; uses one connection and one round trip per host. Exit code 0: as desired, 1: drift or a
    pending reboot, 3: a host is unreachable or its state could not be read.
    """
    started = now()
    fleet = load_fleet(options)
    probed = with_moved_tags(look_at_all(fleet, fleet.hosts, options.forks))
    if record is not None:
        _record(record, probed)
    report = finish("audit", started, (host_report(name, one) for name, one in probed.items()))
    return conclude(report, options, everything=everything)
