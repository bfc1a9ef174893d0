"""Lay out one self-contained HTML page, which loads nothing from elsewhere and can be printed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from strixfleet import __version__, assets
from strixfleet.findings.runs import Measurement, RunRow, maps_in, measurements, series
from strixfleet.on_host.questions import Json
from strixfleet.report import words
from strixfleet.report.charts import Chart, chart


_BAR = 100.0


@dataclass(frozen=True, slots=True)
class HostPage:
    """What the page shows of one host, each part from the newest run that has it."""

    name: str
    reachable: bool
    error: str
    simulated: str
    build: str
    counts: tuple[tuple[str, int], ...]
    items: tuple[dict[str, Json], ...]
    verdicts: tuple[dict[str, Json], ...]
    reasons: Mapping[str, str]
    changed: tuple[str, ...]
    notes: tuple[str, ...]
    charts: tuple[Chart, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """The whole page."""

    hosts: tuple[HostPage, ...]
    runs: tuple[tuple[str, str, int], ...]
    made_at: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))

    @property
    def simulated(self) -> tuple[str, ...]:
        """Name the hosts with simulated hardware."""
        return tuple(host.name for host in self.hosts if host.simulated)


def page_of(documents: Sequence[Mapping[str, Json]], past: Iterable[Measurement] = ()) -> Page:
    """Lay out recorded documents, newest first, and past measurements."""
    rows: dict[str, list[Mapping[str, Json]]] = {}
    for document in documents:
        hosts = document.get("hosts")
        for name, row in (hosts if isinstance(hosts, dict) else {}).items():
            if isinstance(row, dict):
                rows.setdefault(name, []).append(row)
    runs = tuple(RunRow(-index, *_head(document)) for index, document in enumerate(documents))
    grouped = series(past or measurements(runs))
    charts: dict[str, list[Chart]] = {}
    for (host, model, test), points in sorted(grouped.items()):
        charts.setdefault(host, []).append(chart(f"{model} {test}", points))
    pages = (_host(name, found, charts.get(name, [])) for name, found in rows.items())
    return Page(tuple(pages), tuple((run.verb, run.started_at, run.exit_code) for run in runs))


def _head(document: Mapping[str, Json]) -> tuple[str, str, int, Mapping[str, Json]]:
    schema, code = str(document.get("schema") or ""), document.get("exit_code")
    verb = schema.split("/")[1] if schema.count("/") > 1 else "unknown"
    return verb, str(document.get("started_at") or ""), code if isinstance(code, int) else 0, document


def _host(name: str, rows: Sequence[Mapping[str, Json]], charts: Sequence[Chart]) -> HostPage:
    newest = rows[0]
    items, verdicts = _first(rows, "items"), _first(rows, "verdicts")
    statuses = [str(item.get("status")) for item in items]
    runs = _first(rows, "runs")
    return HostPage(
        name=name,
        reachable=newest.get("reachable") is not False,
        error=str(newest.get("error") or ""),
        simulated=str(next((row["simulated"] for row in rows if row.get("simulated")), "")),
        build=str(next((row["build"] for row in rows if row.get("build")), "")),
        counts=tuple((status, statuses.count(status)) for status in dict.fromkeys(statuses)),
        items=tuple(sorted(items, key=lambda item: item.get("status") == "ok")),
        verdicts=tuple(_drawn(verdict) for verdict in verdicts),
        reasons={
            f"{run.get('instance')}/{run.get('test')}": str(run.get("expectation") or "") for run in runs
        },
        changed=tuple(_texts(rows, "changed")),
        notes=tuple(_texts(rows, "notes")),
        charts=tuple(charts),
    )


def _first(rows: Sequence[Mapping[str, Json]], key: str) -> list[dict[str, Json]]:
    """Return a list from the newest run that has one."""
    return next((found for row in rows if (found := maps_in(row.get(key)))), [])


def _texts(rows: Sequence[Mapping[str, Json]], key: str) -> list[str]:
    for row in rows:
        value = row.get(key)
        if isinstance(value, list) and value:
            return [words.inert(str(one)) for one in value]
    return []


def _drawn(verdict: Mapping[str, Json]) -> dict[str, Json]:
    """Add to a verdict the positions of its bar, band and expected speed, in percent of the width."""
    speeds = {
        key: float(value)
        for key, value in verdict.items()
        if key.endswith("_tps") and isinstance(value, int | float)
    }
    measured, expected = speeds.get("measured_tps", 0.0), speeds.get("expected_tps", 0.0)
    most = max(measured, expected, min(speeds.get("ceiling_tps", 0.0), 2 * max(measured, expected))) * 1.02
    share = {key: min(_BAR, round(value / most * _BAR, 2)) if most else 0.0 for key, value in speeds.items()}
    floor = share.get("floor_tps")
    return {
        **verdict,
        "bar": share.get("measured_tps", 0.0),
        "band_from": floor,
        "band_width": round(share.get("ceiling_tps", _BAR) - floor, 2) if floor is not None else None,
        "mark": share.get("expected_tps"),
    }


def render(page: Page) -> str:
    """Return the page's HTML."""
    return assets.render(
        "report/fleet.html.j2",
        page=page,
        version=__version__,
        value=words.value,
        steps=words.steps,
        simulated=words.simulated,
        speed=words.speed,
    )
