"""What a verb found: rows that every renderer knows, and the exit code that follows from them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from math import isfinite
from types import MappingProxyType
from typing import Any, Self

from strixfleet.errors import ExitCode, FleetError, HostKeyError, Unreachable, worst
from strixfleet.findings.items import Difference, Status
from strixfleet.findings.verdict import Grade, Verdict
from strixfleet.on_host.questions import Json


_ALWAYS = MappingProxyType({"audit": ("items",), "bench": ("verdicts",), "provision": ("items", "verdicts")})
_ITEM_CODES = MappingProxyType(
    {
        Status.DRIFT: ExitCode.ATTENTION,
        Status.PENDING_REBOOT: ExitCode.ATTENTION,
        Status.UNKNOWN: ExitCode.UNREACHABLE,
    }
)


def _now() -> datetime:
    return datetime.now(UTC)


def verdict_json(verdict: Verdict) -> dict[str, Json]:
    """Return the contract's `verdicts[]` entry; a ceiling that is not known is null."""
    row: dict[str, Json] = asdict(verdict)
    speeds = {key: value for key, value in row.items() if isinstance(value, float)}
    rounded = {key: round(value, 4) if isfinite(value) else None for key, value in speeds.items()}
    return {**row, **rounded, "grade": verdict.grade.value}


@dataclass(frozen=True, slots=True)
class HostReport:
    """
    What a verb found on one host.

    `error` says why it could not be reached or read; `simulated` names the box that a sandbox host presents;
    `code` is what the verb itself has to say beyond items and verdicts (a failed change: 4).
    """

    name: str
    reachable: bool
    error: str | None = None
    simulated: str | None = None
    seconds: float = 0.0
    items: tuple[Difference, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    extra: Mapping[str, Json] = field(default_factory=dict)
    code: ExitCode = ExitCode.OK

    @classmethod
    def of(cls, name: str, found: "HostReport | FleetError") -> "HostReport":
        """Return the row of a host of which a row came, or an error in its place."""
        return cls.of_error(name, found) if isinstance(found, FleetError) else found

    @classmethod
    def of_error(cls, name: str, error: FleetError, **more: Any) -> Self:  # noqa: ANN401 - other fields
        """Return the row of a host of which nothing but an error came; one that answered was reached."""
        reachable = not isinstance(error, Unreachable | HostKeyError)
        return cls(name, reachable, str(error), code=error.exit_code, **more)

    @property
    def exit_code(self) -> ExitCode:
        """Choose the code of this host."""
        codes = [self.code, *(_ITEM_CODES.get(row.status, ExitCode.OK) for row in self.items)]
        codes += [ExitCode.OK if row.grade is Grade.OK else ExitCode.ATTENTION for row in self.verdicts]
        if not self.reachable or (self.error is not None and self.code is ExitCode.OK):
            codes.append(ExitCode.UNREACHABLE)
        return worst(*codes)

    def to_json(self, verb: str) -> dict[str, Json]:
        """Return the contract's `hosts.*` entry."""
        rows: dict[str, Json] = {
            "items": [row.to_json() for row in self.items],
            "verdicts": [verdict_json(row) for row in self.verdicts],
        }
        kept = {key: value for key, value in rows.items() if value or key in _ALWAYS.get(verb, ())}
        return {
            "reachable": self.reachable,
            "error": self.error,
            "simulated": self.simulated,
            "seconds": round(self.seconds, 3),
            **kept,
            **self.extra,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What one run of a verb found on all hosts."""

    verb: str
    hosts: tuple[HostReport, ...]
    started_at: datetime = field(default_factory=_now)
    finished_at: datetime = field(default_factory=_now)

    @property
    def exit_code(self) -> ExitCode:
        """Choose the code that wins over all hosts."""
        return worst(*(host.exit_code for host in self.hosts))

    def to_json(self) -> dict[str, Json]:
        """Return the contract's document."""
        return {
            "schema": f"strixfleet/{self.verb}/1",
            "exit_code": int(self.exit_code),
            "started_at": self.started_at.isoformat(timespec="seconds"),
            "finished_at": self.finished_at.isoformat(timespec="seconds"),
            "hosts": {host.name: host.to_json(self.verb) for host in self.hosts},
        }
