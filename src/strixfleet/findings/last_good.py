"""
The last good speed of a model on a host, recorded on the host so that all operators judge by the same value.

One record per build, model file and test. A run is recorded if it is ok, and if it is the first or clearly
faster than the record.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from strixfleet.findings.expectation import Basis, Expectation
from strixfleet.findings.verdict import Grade, Verdict
from strixfleet.on_host.questions import Json


CLEARLY_FASTER = 1.05  # repeated published runs of one file differ by up to 5.3 %


@dataclass(frozen=True, slots=True)
class Subject:
    """What was measured: the build, and the model by file name and size."""

    build: str
    model_file: str
    size_bytes: int

    def key(self, test: str) -> str:
        """Return the key of a test's record."""
        return f"{self.build}|{self.model_file}|{self.size_bytes}|{test}"


def _outputs_key(subject: Subject) -> str:
    """Return the key of the record of a model's answers, which all builds share."""
    return f"outputs|{subject.model_file}|{subject.size_bytes}"


@dataclass(frozen=True, slots=True)
class Tolerated(Expectation):
    """An expectation with a tolerance: the share of speed that may be missing."""

    tolerance: float = 0.0

    @property
    def floor_tps(self) -> float:
        """Return the speed below which a run is slow."""
        return self.expected_tps * (1 - self.tolerance)


@dataclass(frozen=True, slots=True)
class LastGood:
    """All records of one host; damaged ones count as none."""

    entries: Mapping[str, Json] = field(default_factory=dict)

    @classmethod
    def from_json(cls, raw: Json) -> "LastGood":
        """Read the records of a host."""
        rows = raw.get("entries") if isinstance(raw, dict) else None
        return cls(rows if isinstance(rows, dict) else {})

    def to_json(self) -> dict[str, Json]:
        """Return the records as the host stores them."""
        return {"schema": "strixfleet/last-good/1", "entries": dict(self.entries)}

    def speed_tps(self, subject: Subject, test: str) -> float | None:
        """Return the last good speed."""
        row = self.entries.get(subject.key(test))
        value = row.get("tps") if isinstance(row, dict) else None
        return float(value) if isinstance(value, int | float) and 0 < value < inf else None

    def changed_output(self, subject: Subject, beginnings: tuple[str, ...], *, proven: bool = False) -> str:
        """
        Return the evidence that a model answers differently than before; empty if it does not.

        Builds may round differently, so single answers may change; if all of them begin with other tokens,
        rounding is not the cause. `proven` answers come from a model that passed the recall test, and are
        compared only with recorded answers that are proven, too.
        """
        row = self.entries.get(_outputs_key(subject))
        kept = row.get("beginnings") if isinstance(row, dict) else None
        if not isinstance(row, dict) or not isinstance(kept, list) or len(kept) != len(beginnings):
            return ""
        if proven and not row.get("proven"):
            return ""
        if not kept or any(old == new for old, new in zip(kept, beginnings, strict=True)):
            return ""
        return f"all {len(kept)} answers begin with other tokens than those of build {row.get('build')}"

    def with_output(
        self, subject: Subject, beginnings: tuple[str, ...], at: str, *, proven: bool = False
    ) -> "LastGood":
        """Record how a model's answers begin, unless answers are recorded that are as well proven."""
        key = _outputs_key(subject)
        known = self.entries.get(key)
        better = proven and not (isinstance(known, dict) and known.get("proven"))
        if not beginnings or (known is not None and not better):
            return self
        row: dict[str, Json] = {"build": subject.build, "beginnings": [*beginnings], "at": at}
        row["proven"] = proven
        return LastGood({**self.entries, key: row})

    def tests(self, subject: Subject) -> tuple[str, ...]:
        """List the tests with a record."""
        start = subject.key("")
        return tuple(sorted(key.removeprefix(start) for key in self.entries if key.startswith(start)))

    def expectation(
        self, subject: Subject, test: str, formula: Expectation | None, tolerance: float | None = None
    ) -> Expectation | None:
        """
        Return the last good speed as the expectation, or the formula if there is none or its floor is higher.

        `tolerance` widens the band of the last good run on noisy machines.
        """
        last = self.speed_tps(subject, test)
        if last is None:
            return formula
        reason = f"the last good run of this build on this host reached {last:.2f} t/s"
        ceiling = formula.ceiling_tps if formula else inf
        mine = Expectation(last, ceiling, Basis.LAST_GOOD, reason)
        if tolerance is not None:
            mine = Tolerated(last, ceiling, Basis.LAST_GOOD, reason, tolerance=tolerance)
        return formula if formula and formula.floor_tps > mine.floor_tps else mine

    def with_runs(self, subject: Subject, verdicts: Iterable[Verdict], at: str) -> "LastGood":
        """Record the ok runs that are the first of their test or clearly faster."""
        entries = dict(self.entries)
        for verdict in verdicts:
            if verdict.grade is not Grade.OK or verdict.measured_tps is None:
                continue
            last = self.speed_tps(subject, verdict.test)
            if last is None or verdict.measured_tps > last * CLEARLY_FASTER:
                entries[subject.key(verdict.test)] = {"tps": round(verdict.measured_tps, 4), "at": at}
        return LastGood(entries)
