"""`strixfleet report`: the recorded runs as one self-contained HTML page."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
from platformdirs import user_state_path

from strixfleet.errors import ExitCode, UsageError
from strixfleet.findings.run_store import History, history_path
from strixfleet.findings.runs import measurements
from strixfleet.fleet.options import Options, fleet_options
from strixfleet.fleet.session import load_fleet
from strixfleet.report import html_page
from strixfleet.report.output import write


_SHOWN_RUNS = 20
_DRAWN_RUNS = 500


def default_path() -> Path:
    """Return where a page is written by default: next to the history, named by the time."""
    folder = user_state_path("strixfleet") / "reports"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.html"


def page(hosts: tuple[str, ...] = ()) -> html_page.Page:
    """Build the page from the recorded runs of these hosts, or of all hosts."""
    history = History(history_path())
    runs = history.runs(hosts=hosts, most=_SHOWN_RUNS)
    if not runs:
        raise UsageError(
            "no run is recorded yet", where=str(history_path()), hint="run `strixfleet audit` first"
        )
    past = history.runs(hosts=hosts, verbs=("bench", "provision", "upgrade"), most=_DRAWN_RUNS)
    documents = [dict(run.document) for run in runs]
    if hosts:
        for document in documents:
            rows = document.get("hosts")
            kept = rows if isinstance(rows, dict) else {}
            document["hosts"] = {name: row for name, row in kept.items() if name in hosts}
    drawn = (row for row in measurements(past) if not hosts or row.host in hosts)
    return html_page.page_of(documents, tuple(drawn))


def write_page(output: Path | None = None, hosts: tuple[str, ...] = ()) -> Path:
    """Write the page and return its path."""
    text = html_page.render(page(hosts))
    path = output or default_path()
    write(path, text)
    return path


@click.command()
@fleet_options
def report(options: Options) -> ExitCode:
    """
    Write one HTML page of the recorded runs: audits, verdicts, and speed over builds.

    No host is contacted. Prints the path of the page; --output chooses another path.
    """
    if options.output and options.output.suffix == ".json":
        hint = "use a name in .html; `strixfleet history --json` prints the runs as JSON"
        raise UsageError("the report is an HTML page", where=str(options.output), hint=hint)
    hosts = tuple(host.name for host in load_fleet(options).hosts) if options.limit else ()
    path = write_page(options.output, hosts)
    if options.as_json:
        document = {"schema": "strixfleet/report/1", "exit_code": 0, "hosts": {}, "path": str(path)}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        sys.stdout.write(f"{path}\n")
    return ExitCode.OK
