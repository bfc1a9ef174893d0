"""
The vocabulary of a rolling upgrade: how far each host is, what may happen, what to do next, the whole state.

The state goes to JSON and back, so that an interrupted rollout can be resumed from its journal.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from strixfleet.on_host.questions import Json


class HostPhase(StrEnum):
    """How far a host is; from UPGRADED on, it is the outcome that `upgrade --json` reports."""

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
    """What may happen: LOST is an action that got no answer, SILENT a host that missed its heartbeats."""

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
    """What to do next: RETURN goes back to the previous build, DISCARD removes a staged one."""

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
    """Something that happened; BEGIN and STOP concern no single host."""

    kind: EventKind
    host: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """
    Something to do; HALT and DONE concern no single host.

    RETURN ends a trial. With `even_confirmed` it also rolls back a build that this rollout has confirmed.
    With `verdict` the build itself failed its gate, so that the host remembers it as bad.
    """

    kind: ActionKind
    host: str = ""
    reason: str = ""
    even_confirmed: bool = False
    verdict: bool = False


@dataclass(frozen=True, slots=True)
class HostProgress:
    """
    One host of the rollout.

    `reason` says why it failed, `gates` how often its gate was started. `activated`, `passed` and `confirmed`
    tell how far it ever came: they stay true while the host is returned. So does `condemned`: the build
    failed its gate here. A host that was lost, busy or stopped says nothing about the build.
    """

    name: str
    phase: HostPhase = HostPhase.WAITING
    reason: str = ""
    gates: int = 0
    activated: bool = False
    passed: bool = False
    confirmed: bool = False
    condemned: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator allows; with `return_upgraded` a halt rolls back confirmed hosts, too."""

    max_failures: int = 0
    max_gates: int = 3
    return_upgraded: bool = False


@dataclass(frozen=True, slots=True)
class Rollout:
    """
    The whole state: the first wave is the canary, and `halted` says why no other host is touched.

    `stopped` if that is not because of a host: the operator interrupted it, or lost the fleet's lock.
    """

    waves: tuple[tuple[str, ...], ...]
    members: Mapping[str, HostProgress]
    rules: Rules = Rules()
    wave: int = -1
    halted: str = ""
    stopped: bool = False
    finished: bool = False

    def in_phase(self, *phases: HostPhase) -> tuple[HostProgress, ...]:
        """Return the hosts in one of these phases, in order of waves."""
        return tuple(member for member in self.members.values() if member.phase in phases)


ENDS = frozenset(list(HostPhase)[list(HostPhase).index(HostPhase.UPGRADED) :])
FAILURES = frozenset({HostPhase.RETURNED, HostPhase.FAILED, HostPhase.UNREACHABLE})
UNCONFIRMED = frozenset({HostPhase.ACTIVATING, HostPhase.GATING, HostPhase.CONFIRMING, HostPhase.RETURNING})
_OLD_NAMES = {"standing": "phase", "done": "confirmed"}


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
        "stopped": state.stopped,
        "finished": state.finished,
    }


def from_json(data: Mapping[str, Any]) -> Rollout:
    """Read the state back; raise ValueError, KeyError or TypeError when it is damaged."""
    members = [_member(row) for row in data["members"]]
    return Rollout(
        waves=tuple(tuple(wave) for wave in data["waves"]),
        members={member.name: member for member in members},
        rules=Rules(**data["rules"]),
        wave=data["wave"],
        halted=data["halted"],
        stopped=data.get("stopped", False),  # older journals do not say
        finished=data["finished"],
    )


def _member(row: Mapping[str, Any]) -> HostProgress:
    """Read one host; older journals use other names and do not say `activated`."""
    named = {_OLD_NAMES.get(key, key): value for key, value in row.items()}
    phase = HostPhase(named["phase"])
    touched = phase in UNCONFIRMED or named["gates"] > 0 or named["confirmed"]
    return HostProgress(**{"activated": touched, **named, "phase": phase})
