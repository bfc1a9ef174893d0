"""
Judge whether a new build may stay on a host.

The result is passed, failed, or invalid, which means that it could not be judged. Speed is compared with the
previous build, measured minutes earlier on the same host. Where the new build looks slow, the previous one is
measured once more: if it is slow now, too, the host is hot or busy, and nothing is proved.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Self

from strixfleet.findings.verdict import Grade, Verdict
from strixfleet.on_host.questions import Json


NOISE = 0.10  # repeated runs of one file differ by up to 5.3 %, on two owners' machines by 5.7 %
BROKEN = frozenset({Grade.WRONG_OUTPUT, Grade.WRONG_DEVICE})
UNDECIDED = frozenset({Grade.INVALID, Grade.IMPOSSIBLE, Grade.UNSTABLE})
Speeds = Mapping[str, float]  # tokens per second by "instance test"


class Result(StrEnum):
    """The result of a check, or of the whole gate."""

    PASSED = "passed"
    FAILED = "failed"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check, and why."""

    name: str
    result: Result
    reason: str

    def to_json(self) -> dict[str, Json]:
        """Return an entry of `gate[]` in the JSON of `upgrade`."""
        return {"check": self.name, "result": self.result.value, "reason": self.reason}

    @classmethod
    def from_json(cls, row: Mapping[str, str]) -> Self:
        """Read an entry back; raise ValueError, KeyError or TypeError when it is damaged."""
        return cls(row["check"], Result(row["result"]), row["reason"])


def overall(checks: Iterable[Check]) -> tuple[Result, str]:
    """Return the gate's answer and why: one failure fails it, else one invalid check makes it invalid."""
    rows = list(checks)
    for result in (Result.FAILED, Result.INVALID):
        reasons = [f"{row.name}: {row.reason}" for row in rows if row.result is result]
        if reasons:
            return result, "; ".join(reasons)
    return Result.PASSED, ""


def speeds_of(verdicts: Iterable[Verdict]) -> dict[str, float]:
    """Return the measured speeds, by instance and test."""
    return {f"{row.instance} {row.test}".strip(): row.measured_tps for row in verdicts if row.measured_tps}


def checks_of(verdicts: Iterable[Verdict], before: Speeds) -> tuple[Check, ...]:
    """
    Turn the verdicts of the benchmark into checks.

    Its verdict on speed counts only where there is nothing to compare with. The previous build is the better
    yardstick: a new build does not fail an expectation that the previous one missed, too. What is faster than
    memory allows, and than the previous build, was not measured.
    """
    rows = []
    for row in verdicts:
        name = f"{row.instance} {row.test}".strip()
        compared = name in before and row.measured_tps is not None
        if row.grade is Grade.IMPOSSIBLE and compared and not _reached_before(row, before[name]):
            compared = False
        result = Result.PASSED
        if row.grade in BROKEN or (row.grade is Grade.SLOW and not compared):
            result = Result.FAILED
        elif row.grade in UNDECIDED and not compared:
            result = Result.INVALID
        rows.append(Check(name, result, row.reason))
    return tuple(rows)


def _reached_before(row: Verdict, before_tps: float) -> bool:
    """Tell whether the previous build was as fast, so that it is the ceiling that is wrong."""
    return row.measured_tps is not None and row.measured_tps <= before_tps * (1 + NOISE)


def doubtful(verdicts: Iterable[Verdict]) -> frozenset[str]:
    """Return the tests that ran while the host was not in a state to be measured."""
    rows = (row for row in verdicts if row.grade in UNDECIDED)
    return frozenset(f"{row.instance} {row.test}".strip() for row in rows)


def slower(before: Speeds, after: Speeds, tolerance: float = NOISE) -> dict[str, str]:
    """Return the tests that lost more speed than noise explains, each with its figures."""
    found = {}
    for name, old in before.items():
        new = after.get(name)
        if new is None or new >= old * (1 - tolerance):
            continue
        found[name] = f"{new:.2f} t/s, the previous build reached {old:.2f}: {new / old - 1:+.0%}"
    return found


@dataclass(frozen=True, slots=True)
class Measured:
    """Speeds of the previous build, the new one, the previous one again; `doubts` name disturbed tests."""

    before: Speeds
    after: Speeds
    again: Speeds | None = None
    doubts: frozenset[str] = frozenset()


def speed_checks(measured: Measured, tolerance: float = NOISE) -> tuple[Check, ...]:
    """Judge speed; a test that only the previous build ran is invalid, not passed."""
    before, after = measured.before, measured.after
    lost = slower(before, after, tolerance)
    drift = _drift(before, measured.again) if measured.again else 1.0
    rows = []
    for name, old in before.items():
        check = f"{name} speed"
        if name not in after:
            rows.append(Check(check, Result.INVALID, "was not measured"))
        elif name not in lost:
            rows.append(Check(check, Result.PASSED, f"{after[name]:.2f} t/s, before {old:.2f}"))
        elif name in measured.doubts:
            rows.append(Check(check, Result.INVALID, f"{lost[name]}, but the host was busy"))
        elif after[name] >= old * drift * (1 - tolerance):
            why = f"{lost[name]}, but the previous build reaches only {drift:.0%} of that now"
            rows.append(Check(check, Result.INVALID, why))
        else:
            rows.append(Check(check, Result.FAILED, lost[name]))
    return tuple(rows)


def _drift(before: Speeds, again: Speeds) -> float:
    """Return the share of its speed that the previous build still reaches, 1 at most."""
    shares = [again[name] / before[name] for name in before if name in again]
    return min(1.0, median(shares)) if shares else 1.0


def output_check(name: str, old: Sequence[Json], new: Sequence[Json]) -> Check:
    """
    Compare the first tokens of a greedy answer with those of the previous build.

    Another build may round differently, so its answer may differ after some tokens. It must not begin with
    another token, nor repeat one token where the previous build did not.
    """
    check = f"{name} output"
    if not old:
        return Check(check, Result.PASSED, "nothing to compare with")
    if not new:
        return Check(check, Result.FAILED, "no tokens")
    alike = next((at for at, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), len(old))
    if alike == 0:
        return Check(check, Result.FAILED, f"begins with token {new[0]}, the previous build with {old[0]}")
    if len(set(map(str, new))) == 1 and len(set(map(str, old))) > 1:
        return Check(check, Result.FAILED, f"repeats token {new[0]}, the previous build did not")
    return Check(check, Result.PASSED, f"{alike} of {len(old)} tokens as with the previous build")
