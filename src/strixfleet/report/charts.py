"""Compute the geometry of speed charts with their expectation bands; the page's template draws them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

from strixfleet.findings.runs import Measurement
from strixfleet.printable import printable
from strixfleet.report import words


WIDTH, HEIGHT = 640.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 72.0, 14.0, 40.0
_MOST_POINTS = 60
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_TICKS = 4
_LABEL_CHARS = 22
_LABEL_WIDTH = 60.0


@dataclass(frozen=True, slots=True)
class Tick:
    """A horizontal grid line and its label."""

    y: float
    label: str


@dataclass(frozen=True, slots=True)
class Point:
    """One run."""

    x: float
    y: float
    good: bool
    hint: str


@dataclass(frozen=True, slots=True)
class Band:
    """The expectation for one run: floor to ceiling, and the expected speed."""

    x: float
    width: float
    top: float
    height: float
    expected_y: float | None


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive runs of one build."""

    x: float
    label: str
    first: bool
    late: bool  # near the right edge: its label goes to the left


@dataclass(frozen=True, slots=True)
class Chart:
    """One series of runs, ready to be drawn."""

    title: str
    summary: str
    ticks: tuple[Tick, ...]
    bands: tuple[Band, ...]
    points: tuple[Point, ...]
    builds: tuple[Stretch, ...]
    line: str
    last: str
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    bottom: float = HEIGHT - BOTTOM


def nice_step(highest: float) -> float:
    """Choose the distance of grid lines: 1, 2, 2.5 or 5 times a power of ten."""
    rough = highest / _TICKS
    power = 10.0 ** floor(log10(rough))
    return next(step * power for step in _STEPS if step * power >= rough * 0.999)


def chart(title: str, rows: Sequence[Measurement]) -> Chart:
    """Lay out one series, oldest run first; at least one of its rows has a speed."""
    kept = [row for row in rows if row.measured_tps is not None][-_MOST_POINTS:]
    highest = max(
        max(row.measured_tps or 0.0, row.expected_tps or 0.0, _visible_ceiling(row)) for row in kept
    )
    step = nice_step(highest * 1.05 or 1.0)
    top = step * ceil(highest * 1.05 / step)
    slot = (WIDTH - LEFT - RIGHT) / len(kept)

    def y(tps: float) -> float:
        return round(HEIGHT - BOTTOM - min(max(tps, 0.0), top) / top * (HEIGHT - TOP - BOTTOM), 2)

    xs = [round(LEFT + slot * (index + 0.5), 2) for index in range(len(kept))]
    points = tuple(
        Point(x, y(row.measured_tps or 0.0), row.grade == "ok", _hint(row))
        for x, row in zip(xs, kept, strict=True)
    )
    bands = tuple(
        _band(x - slot / 2, slot, row, (y, top))
        for x, row in zip(xs, kept, strict=True)
        if row.floor_tps is not None
    )
    ticks = tuple(Tick(y(step * index), f"{step * index:g}") for index in range(round(top / step) + 1))
    return Chart(
        title=title,
        summary=_summary(kept),
        ticks=ticks,
        bands=bands,
        points=points,
        builds=_builds(kept, xs, slot),
        line=" ".join(f"{point.x},{point.y}" for point in points),
        last=f"{words.speed(kept[-1].measured_tps)} t/s",
    )


def _visible_ceiling(row: Measurement) -> float:
    """Return the ceiling, or 0 if it is too far above the speeds to be drawn."""
    ceiling, measured = row.ceiling_tps, row.measured_tps or 0.0
    if ceiling is None or not isfinite(ceiling) or ceiling > 2 * max(measured, row.expected_tps or 0.0):
        return 0.0
    return ceiling


def _band(left: float, width: float, row: Measurement, scale: tuple) -> Band:  # type: ignore[type-arg]
    y, highest = scale
    upper = y(row.ceiling_tps if row.ceiling_tps is not None else highest)
    lower = y(row.floor_tps or 0.0)
    expected = y(row.expected_tps) if row.expected_tps is not None else None
    return Band(round(left, 2), round(width, 2), upper, round(lower - upper, 2), expected)


def _hint(row: Measurement) -> str:
    when = row.at[:16].replace("T", " ")
    return f"{when}, {row.build or 'build unknown'}: {words.speed(row.measured_tps)} t/s, {row.grade}"


def _summary(rows: Sequence[Measurement]) -> str:
    last = rows[-1]
    expected = f", expected {words.speed(last.expected_tps)}" if last.expected_tps is not None else ""
    runs = words.counted(len(rows), "run")
    return f"{runs}; last {words.speed(last.measured_tps)} t/s{expected}, {last.grade}"


def _builds(rows: Sequence[Measurement], xs: Sequence[float], slot: float) -> tuple[Stretch, ...]:
    found = []
    for index, row in enumerate(rows):
        if index == 0 or row.build != rows[index - 1].build:
            label = printable(row.build or "build unknown", _LABEL_CHARS)
            x = round(xs[index] - slot / 2, 2)
            found.append(Stretch(x, label, index == 0, x > WIDTH - RIGHT - _LABEL_WIDTH))
    return tuple(found)
