"""`strixfleet history`: the recorded runs of this controller."""

import json
from io import StringIO

import click

from strixfleet.errors import ExitCode
from strixfleet.findings.run_store import History, history_path
from strixfleet.findings.runs import RunRow
from strixfleet.fleet.options import Options, fleet_options
from strixfleet.fleet.session import load_fleet
from strixfleet.on_host.questions import Json
from strixfleet.report import terminal
from strixfleet.report.output import emit, medium


def document(runs: tuple[RunRow, ...]) -> dict[str, Json]:
    """Return the JSON document: runs by host, newest first."""
    hosts: dict[str, Json] = {}
    for run in runs:
        for name, row in run.hosts.items():
            entry = hosts.setdefault(name, {"reachable": row.get("reachable"), "runs": []})
            if isinstance(entry, dict) and isinstance(rows := entry["runs"], list):
                rows.append(
                    {
                        "number": run.number,
                        "verb": run.verb,
                        "started_at": run.started_at,
                        "exit_code": run.exit_code,
                        "build": row.get("build"),
                        "verdicts": row.get("verdicts", []),
                        "error": row.get("error"),
                    }
                )
    return {"schema": "strixfleet/history/1", "exit_code": 0, "hosts": hosts}


@click.command()
@fleet_options
@click.option("-n", "--number", default=50, show_default=True, type=click.IntRange(1, 10_000))
def history(options: Options, *, number: int) -> ExitCode:
    """
    List the recorded runs of this controller, newest first.

    No host is contacted. With --limit, list only runs on the hosts that match the pattern.
    """
    hosts = tuple(host.name for host in load_fleet(options).hosts) if options.limit else ()
    runs = History(history_path()).runs(hosts=hosts, most=number)
    if medium(options.output, as_json=options.as_json) == "json":
        text = json.dumps(document(runs), indent=2) + "\n"
    elif options.output:
        page = StringIO()
        terminal.show_history(runs, page)
        text = page.getvalue()
    else:
        terminal.show_history(runs)
        return ExitCode.OK
    emit(text, options.output)
    return ExitCode.OK
