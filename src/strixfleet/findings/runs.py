"""Recorded runs, and the speeds that they measured over time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from strixfleet.on_host.questions import Json


RECORDED = frozenset({"audit", "bench", "provision", "upgrade", "rollback"})


@dataclass(frozen=True, slots=True)
class RunRow:
    """One recorded run of a verb."""

    number: int
    verb: str
    started_at: str
    exit_code: int
    document: Mapping[str, Json]

    @property
    def hosts(self) -> dict[str, Mapping[str, Json]]:
        """Return the entries of its hosts."""
        hosts = self.document.get("hosts")
        rows = hosts if isinstance(hosts, dict) else {}
        return {name: row for name, row in rows.items() if isinstance(row, dict)}


@dataclass(frozen=True, slots=True)
class Measurement:
    """A past verdict; a speed is None if nothing was measured or expected."""

    run: int
    at: str
    host: str
    build: str
    instance: str
    model: str
    test: str
    grade: str
    measured_tps: float | None
    expected_tps: float | None
    floor_tps: float | None
    ceiling_tps: float | None
    simulated: bool


def measurements(runs: Iterable[RunRow]) -> tuple[Measurement, ...]:
    """List all verdicts of all runs, oldest first."""
    return tuple(
        _measurement(run, host, row, verdict)
        for run in sorted(runs, key=lambda row: row.number)
        for host, row in run.hosts.items()
        for verdict in maps_in(row.get("verdicts"))
    )


def maps_in(value: Json) -> list[dict[str, Json]]:
    """Return the maps of a list; nothing of anything else."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _measurement(run: RunRow, host: str, row: Mapping[str, Json], verdict: Mapping[str, Json]) -> Measurement:
    def text(key: str) -> str:
        return str(verdict.get(key) or "")

    def speed(key: str) -> float | None:
        value = verdict.get(key)
        return float(value) if isinstance(value, int | float) else None

    return Measurement(
        run=run.number,
        at=run.started_at,
        host=host,
        build=str(row.get("build") or ""),
        instance=text("instance"),
        model=text("model"),
        test=text("test"),
        grade=text("grade"),
        measured_tps=speed("measured_tps"),
        expected_tps=speed("expected_tps"),
        floor_tps=speed("floor_tps"),
        ceiling_tps=speed("ceiling_tps"),
        simulated=bool(row.get("simulated")),
    )


Series = dict[tuple[str, str, str], list[Measurement]]


def series(rows: Iterable[Measurement]) -> Series:
    """Group measurements by host, model and test."""
    found: Series = {}
    for row in rows:
        if row.measured_tps is not None:
            found.setdefault((row.host, row.model, row.test), []).append(row)
    return found
