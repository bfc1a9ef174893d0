"""
The last good speed of a model on a host, kept on the host so that every operator judges alike.

Per build, model file and test. Only a run graded ok is kept, and only when it is the first or clearly faster:
a slower one never takes its place.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from strixfleet.findings.expectation import Basis, Expectation
from strixfleet.findings.verdict import Grade, Verdict
from strixfleet.on_host.questions import Json


CLEARLY_FASTER = 1.05  # repeated runs of one file differ by up to 5.3 % (performance data, section 1.4)


@dataclass(frozen=True, slots=True)
class Subject:
    """What was measured: the build, and the model by file name and size."""

    build: str
    model_file: str
    size_bytes: int

    def key(self, test: str) -> str:
        """Name one entry."""
        return f"{self.build}|{self.model_file}|{self.size_bytes}|{test}"


def _outputs_key(subject: Subject) -> str:
    """Name the entry of a model's answers, which every build shares."""
    return f"outputs|{subject.model_file}|{subject.size_bytes}"


@dataclass(frozen=True, slots=True)
class Tolerated(Expectation):
    """An expectation of which the operator lets a share be missing."""

    tolerance: float = 0.0

    @property
    def floor_tps(self) -> float:
        """Return the speed below which a run is slow."""
        return self.expected_tps * (1 - self.tolerance)


@dataclass(frozen=True, slots=True)
class LastGood:
    """All entries of one host; damaged ones are as good as none."""

    entries: Mapping[str, Json] = field(default_factory=dict)

    @classmethod
    def from_json(cls, raw: Json) -> "LastGood":
        """Read what the host keeps."""
        rows = raw.get("entries") if isinstance(raw, dict) else None
        return cls(rows if isinstance(rows, dict) else {})

    def to_json(self) -> dict[str, Json]:
        """Return what the host keeps."""
        return {"schema": "strixfleet/last-good/1", "entries": dict(self.entries)}

    def speed_tps(self, subject: Subject, test: str) -> float | None:
        """Return the last good speed."""
        row = self.entries.get(subject.key(test))
        value = row.get("tps") if isinstance(row, dict) else None
        return float(value) if isinstance(value, int | float) and 0 < value < inf else None

    def changed_output(self, subject: Subject, beginnings: tuple[str, ...], *, proven: bool = False) -> str:
        """
        Return the evidence that a model answers otherwise than it did; empty where it does not.

        Builds may round differently, so one answer may change; that none begins as before is no rounding.
        `proven` answers come from a model that recalls what a prompt says; others are no yardstick then.
        """
        row = self.entries.get(_outputs_key(subject))
        kept = row.get("beginnings") if isinstance(row, dict) else None
        if not isinstance(row, dict) or not isinstance(kept, list) or len(kept) != len(beginnings):
            return ""
        if proven and not row.get("proven"):
            return ""
        if not kept or any(old == new for old, new in zip(kept, beginnings, strict=True)):
            return ""
        return f"none of {len(kept)} prompts is answered as with build {row.get('build')}: other tokens begin"

    def with_output(
        self, subject: Subject, beginnings: tuple[str, ...], at: str, *, proven: bool = False
    ) -> "LastGood":
        """Keep how a model's answers begin, unless something is kept already that is proven as well."""
        key = _outputs_key(subject)
        known = self.entries.get(key)
        better = proven and not (isinstance(known, dict) and known.get("proven"))
        if not beginnings or (known is not None and not better):
            return self
        row: dict[str, Json] = {"build": subject.build, "beginnings": [*beginnings], "at": at}
        row["proven"] = proven
        return LastGood({**self.entries, key: row})

    def tests(self, subject: Subject) -> tuple[str, ...]:
        """Name the tests that a subject has passed."""
        start = subject.key("")
        return tuple(sorted(key.removeprefix(start) for key in self.entries if key.startswith(start)))

    def expectation(
        self, subject: Subject, test: str, formula: Expectation | None, tolerance: float | None = None
    ) -> Expectation | None:
        """
        Expect what was reached before, within what the formula allows; the formula alone before that.

        `tolerance` widens the band of a past run where the machine itself is noisy.
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
        """Keep the good runs that are the first of their kind or clearly faster."""
        entries = dict(self.entries)
        for verdict in verdicts:
            if verdict.grade is not Grade.OK or verdict.measured_tps is None:
                continue
            last = self.speed_tps(subject, verdict.test)
            if last is None or verdict.measured_tps > last * CLEARLY_FASTER:
                entries[subject.key(verdict.test)] = {"tps": round(verdict.measured_tps, 4), "at": at}
        return LastGood(entries)
