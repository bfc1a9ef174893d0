"""Show a report on a terminal: tables that fit 80 columns, and colour unless it is unwanted."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from strixfleet.errors import ExitCode
from strixfleet.findings.items import Difference, Status
from strixfleet.findings.results import HostReport, Report
from strixfleet.findings.runs import RunRow, maps_in
from strixfleet.findings.verdict import Grade, Verdict
from strixfleet.on_host.questions import Json
from strixfleet.report import words


WIDTH = 80
_NARROW = frozenset({"status", "grade", "cost", "cure", "run", "verb", "exit"})
_WIDEST = 120
_STYLES = {
    Status.OK: "green",
    Status.DRIFT: "red",
    Status.PENDING_REBOOT: "yellow",
    Status.UNKNOWN: "magenta",
    Status.WAIVED: "dim",
}
_OUR_PROGRAM = ":/opt/strixfleet/lib/"
_SHORT = {Status.PENDING_REBOOT: "reboot"}
_ENDINGS = {
    ExitCode.OK: "as desired",
    ExitCode.ATTENTION: "needs attention",
    ExitCode.USAGE: "wrong usage",
    ExitCode.UNREACHABLE: "unreachable",
    ExitCode.FAILED: "failed",
    ExitCode.DEFECT: "defect",
}


def console_for(stream: TextIO) -> Console:
    """Return a console with colour only on a terminal without NO_COLOR, and a limited width."""
    colour = stream.isatty() and not os.environ.get("NO_COLOR")
    return Console(
        file=stream,
        width=max(40, min(_WIDEST, _columns(stream))),
        force_terminal=colour,
        no_color=not colour,
        color_system="auto" if colour else None,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )


def _columns(stream: TextIO) -> int:
    """Return the width of a stream: COLUMNS, or the terminal's width, or 80."""
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked):
        return int(asked)
    return (os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0) or WIDTH


def show(report: Report, *, stream: TextIO | None = None, everything: bool = False) -> None:
    """Write a report as text."""
    console = console_for(stream or sys.stdout)
    for host in report.hosts:
        for part in host_parts(host, everything=everything):
            console.print(part)
    console.print(ending(report))


def ending(report: Report) -> Text:
    """Return the last line: how many hosts are in which state, and the exit code."""
    counts = Counter(_ending_of(host) for host in report.hosts)
    parts = ", ".join(f"{number} {ending}" for ending, number in counts.items())
    hosts = words.counted(len(report.hosts), "host")
    forecasts = [one for host in report.hosts if isinstance(one := host.extra.get("forecast"), dict)]
    total = f"; {cost}" if (cost := words.cost_of(forecasts)) else ""
    code = int(report.exit_code)
    return Text(f"{report.verb}: {hosts}: {parts or 'nothing to do'}{total} (exit code {code})")


def _ending_of(host: HostReport) -> str:
    """Say in which state a host is; one that was reached and read is not unreachable for a fact it lacks."""
    if host.exit_code is not ExitCode.UNREACHABLE or not host.reachable:
        return _ENDINGS[host.exit_code]
    unknown = sum(row.status is Status.UNKNOWN for row in host.items)
    return f"unknown: {words.counted(unknown, 'fact')}" if unknown and host.error is None else "unreadable"


def host_parts(host: HostReport, *, everything: bool) -> Iterator[RenderableType]:
    """Return everything that is shown of one host."""
    yield _headline(host)
    if host.error is not None:
        yield Padding(Text(words.inert(host.error), style="red"), (0, 0, 0, 2))
    rows = [row for row in host.items if everything or row.message or row.status is not Status.OK]
    changes = maps_in(host.extra.get("changes"))
    changed = {str(change.get("id")) for change in changes}
    if rest := [row for row in rows if row.id not in changed]:
        yield _items(rest)
    if changes:
        yield _changes(folded(changes))
    forecast = host.extra.get("forecast")
    if isinstance(forecast, dict):
        yield from _forecast(forecast)
    if host.verdicts:
        yield _verdicts(host.verdicts)
        yield from (_reason(verdict) for verdict in host.verdicts)
    if instances := maps_in(host.extra.get("instances")):
        yield _instances(instances)
    for note in _texts(host.extra.get("notes")):
        yield Padding(Text(words.inert(note)), (0, 0, 0, 2))


def _headline(host: HostReport) -> Text:
    line = Text(words.inert(host.name), style="bold")
    if host.simulated:
        line.append(f"  {words.simulated(host.simulated)}", style="bold yellow")
    if counts := Counter(row.status for row in host.items):
        parts = (
            f"{counts[status]} {_SHORT.get(status, status.value)}" for status in Status if counts[status]
        )
        line.append("  " + ", ".join(parts), style="not bold")
    if build := host.extra.get("build"):
        line.append(f"\n  build {words.value(build)}", style="not bold")
    if not host.reachable:
        line.append("  unreachable", style="red")
    return line


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name in _NARROW)
    return table


def _items(rows: Iterable[Difference]) -> RenderableType:
    table = _table("status", "item", "cure")
    for row in rows:
        what = Text(words.inert(row.id))
        if row.status not in {Status.OK, Status.UNKNOWN}:
            what.append("".join(f"\n  {line}" for line in words.steps(row.have, row.want)))
        if row.message:
            what.append(f"\n  {words.inert(row.message)}", style="dim")
        status = Text(_SHORT.get(row.status, row.status.value), style=_STYLES[row.status])
        table.add_row(status, what, "" if row.status in {Status.OK, Status.WAIVED} else row.cure.value)
    return Padding(table, (0, 0, 1, 2))


def _changes(rows: Iterable[dict[str, Json]]) -> RenderableType:
    table = _table("cost", "item")
    for row in rows:
        what = Text(words.value(row.get("id")))
        what.append("".join(f"\n  {line}" for line in words.steps(row.get("have"), row.get("want"))))
        table.add_row(Text(words.value(row.get("cost"))), what)
    return Padding(table, (0, 0, 1, 2))


def folded(rows: Sequence[dict[str, Json]]) -> list[dict[str, Json]]:
    """Return the rows with our own program on the host as one: its modules say nothing apart."""
    ours = [row for row in rows if _OUR_PROGRAM in str(row.get("id"))]
    kept = [row for row in rows if row not in ours]
    if len(ours) <= 1:
        return [*kept, *ours]
    one: dict[str, Json] = {"id": "llama_cpp:/opt/strixfleet/lib", "cost": ours[0].get("cost")}
    files = words.counted(len(ours), "file")
    return [*kept, {**one, "have": "not as shipped", "want": f"strixfleet's program, {files}"}]


def _forecast(forecast: dict[str, Json]) -> Iterator[RenderableType]:
    for text in _texts(forecast.get("refusals")):
        yield Padding(Text(f"provision would fail: {words.inert(text)}", style="red"), (0, 0, 0, 2))
    if names := _texts(forecast.get("packages")):
        yield Padding(Text(f"packages, where missing: {words.inert(', '.join(names))}"), (0, 0, 0, 2))
    if total := words.cost_of([forecast]):
        yield Padding(Text(f"in all: {total}"), (0, 0, 1, 2))


def _verdicts(rows: Iterable[Verdict]) -> RenderableType:
    table = _table("grade", "instance", "model", "test", "t/s", "expected", "band")
    for row in rows:
        grade = Text(row.grade.value, style="green" if row.grade is Grade.OK else "red")
        names = (Text(words.inert(text)) for text in (row.instance, row.model, row.test))
        speeds = (words.speed(row.measured_tps), words.speed(row.expected_tps))
        table.add_row(grade, *names, *speeds, words.band(row.floor_tps, row.ceiling_tps))
    return Padding(table, (0, 0, 0, 2))


def _reason(verdict: Verdict) -> RenderableType:
    text = f"{verdict.test}: {verdict.reason}"
    return Padding(Text(words.inert(text), style="dim" if verdict.grade is Grade.OK else ""), (0, 0, 0, 2))


def _instances(rows: Iterable[dict[str, Json]]) -> RenderableType:
    table = _table("instance", "state", "health", "model", "address", "t/s")
    for row in rows:
        again = f", restarted {row['restarts']} times by itself" if row.get("restarts") else ""
        shown = {**row, "health": f"{row.get('loading') or row.get('health')}{again}"}
        names = ("name", "state", "health", "model", "address")
        last = row.get("last_tps")
        tps = words.speed(last if isinstance(last, float) else None)
        table.add_row(*(Text(words.value(shown.get(name))) for name in names), tps)
    return Padding(table, (0, 0, 1, 2))


def _texts(value: Json) -> list[str]:
    return [row for row in value if isinstance(row, str)] if isinstance(value, list) else []


def show_history(runs: Iterable[RunRow], stream: TextIO | None = None) -> None:
    """List recorded runs, newest first, with the speeds that were measured."""
    table = _table("run", "when", "verb", "exit", "host")
    found = False
    for run in runs:
        for name, row in run.hosts.items():
            found = True
            speeds = [
                f"{one.get('test')} {words.speed(tps)} {one.get('grade')}"
                for one in maps_in(row.get("verdicts"))
                if isinstance(tps := one.get("measured_tps"), int | float)
            ]
            error = str(row.get("error") or "").removeprefix(f"{name}: ")
            what = Text(words.inert(" ".join(filter(None, (name, str(row.get("build") or ""))))))
            what.append(
                "".join(f"\n  {words.inert(line)}" for line in speeds or [error] if line), style="dim"
            )
            when = run.started_at[:16].replace("T", " ")
            cells = (str(run.number), when, run.verb, str(run.exit_code))
            table.add_row(*(Text(words.inert(cell)) for cell in cells), what)
    console = console_for(stream or sys.stdout)
    console.print(table if found else Text("no runs recorded yet"))
