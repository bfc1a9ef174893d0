"""Which ref to upgrade to: the newest one that passed the gate here and was not returned since."""

from collections.abc import Iterable
from dataclasses import dataclass

from strixfleet.findings.runs import RunRow
from strixfleet.on_host.questions import Json
from strixfleet.rollout.rollout_state import HostPhase


@dataclass(frozen=True, slots=True)
class Passed:
    """A ref that passed: where, when, and the results of its gate."""

    ref: str
    host: str
    at: str
    gate: tuple[str, ...]


def newest_passed(runs: Iterable[RunRow], hosts: Iterable[str]) -> Passed | None:
    """Return the newest ref that passed, from recorded upgrades and rollbacks, newest first."""
    known, bad = frozenset(hosts), set[str]()
    for run in runs:
        for name, row in run.hosts.items():
            ref = row.get("ref")
            if name not in known or not isinstance(ref, str):
                continue
            outcome = row.get("outcome")
            if outcome in {HostPhase.RETURNED.value, HostPhase.FAILED.value}:
                bad.add(ref)
            elif outcome == HostPhase.UPGRADED.value and ref not in bad:
                return Passed(ref, name, run.started_at, _gate(row.get("gate")))
    return None


def _gate(rows: Json) -> tuple[str, ...]:
    checks = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return tuple(f"{row.get('check')}: {row.get('reason')}" for row in checks)
