"""
The words of a rolling upgrade: where a host stands, what may happen, what is to be done, and the whole state.

The state goes to JSON and back, so that a journal can be taken up again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from strixfleet.on_host.questions import Json


class HostPhase(StrEnum):
    """How far a host is; the second half are ends, and their names are the contract's outcomes."""

    WAITING = "waiting"
    STAGING = "staging"
    STAGED = "staged"
    ACTIVATING = "activating"
    GATING = "gating"
    CONFIRMING = "confirming"
    RETURNING = "returning"
    UPGRADED = "upgraded"
    UNCHANGED = "unchanged"
    RETURNED = "returned"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    SKIPPED = "skipped"


class EventKind(StrEnum):
    """What may happen; LOST ends an action without an answer, SILENT comes from the heartbeat meanwhile."""

    BEGIN = "begin"
    STAGED = "staged"
    UNCHANGED = "unchanged"
    STAGE_FAILED = "stage_failed"
    ACTIVATED = "activated"
    ACTIVATION_FAILED = "activation_failed"
    GATE_PASSED = "gate_passed"
    GATE_FAILED = "gate_failed"
    GATE_INVALID = "gate_invalid"
    CONFIRMED = "confirmed"
    CONFIRM_FAILED = "confirm_failed"
    RETURNED = "returned"
    RETURN_FAILED = "return_failed"
    LOST = "lost"
    SILENT = "silent"
    STOP = "stop"


class ActionKind(StrEnum):
    """What to do; RETURN is harmless where nothing is pending, DISCARD removes a staged build."""

    STAGE = "stage"
    ACTIVATE = "activate"
    GATE = "gate"
    CONFIRM = "confirm"
    RETURN = "return"
    DISCARD = "discard"
    HALT = "halt"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened, on a host but for BEGIN and STOP."""

    kind: EventKind
    host: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """Something is to be done, on a host but for HALT and DONE."""

    do: ActionKind
    host: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class HostProgress:
    """
    One host of the rollout.

    `passed` once its gate has; `reason` of its failure; `gates` begun so far; `done` if it ever was upgraded.
    """

    name: str
    standing: HostPhase = HostPhase.WAITING
    reason: str = ""
    passed: bool = False
    gates: int = 0
    done: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator allows; `return_upgraded` takes confirmed hosts back, too, after a halt."""

    max_failures: int = 0
    max_gates: int = 3
    return_upgraded: bool = False


@dataclass(frozen=True, slots=True)
class Rollout:
    """The state; the first wave is the canary's. `halted` says why, `finished` that nothing is left to do."""

    waves: tuple[tuple[str, ...], ...]
    members: Mapping[str, HostProgress]
    rules: Rules = Rules()
    wave: int = -1
    halted: str = ""
    finished: bool = False

    def in_phase(self, *standings: HostPhase) -> tuple[HostProgress, ...]:
        """Return the hosts that stand so, in order of waves."""
        return tuple(member for member in self.members.values() if member.standing in standings)


ENDS = frozenset(list(HostPhase)[list(HostPhase).index(HostPhase.UPGRADED) :])
FAILURES = frozenset({HostPhase.RETURNED, HostPhase.FAILED, HostPhase.UNREACHABLE})
UNCONFIRMED = frozenset({HostPhase.ACTIVATING, HostPhase.GATING, HostPhase.CONFIRMING, HostPhase.RETURNING})


def new_rollout(waves: Iterable[Iterable[str]], rules: Rules | None = None) -> Rollout:
    """Return the state before the first event."""
    ordered = tuple(tuple(wave) for wave in waves)
    members = {name: HostProgress(name) for wave in ordered for name in wave}
    return Rollout(ordered, members, rules or Rules())


def to_json(state: Rollout) -> dict[str, Json]:
    """Return the state as JSON has it."""
    return {
        "waves": [list(wave) for wave in state.waves],
        "members": [asdict(member) for member in state.members.values()],
        "rules": asdict(state.rules),
        "wave": state.wave,
        "halted": state.halted,
        "finished": state.finished,
    }


def from_json(data: Mapping[str, Any]) -> Rollout:
    """Read the state back; raise ValueError, KeyError or TypeError when it is damaged."""
    rows = [HostProgress(**{**row, "standing": HostPhase(row["standing"])}) for row in data["members"]]
    return Rollout(
        waves=tuple(tuple(wave) for wave in data["waves"]),
        members={row.name: row for row in rows},
        rules=Rules(**data["rules"]),
        wave=data["wave"],
        halted=data["halted"],
        finished=data["finished"],
    )
