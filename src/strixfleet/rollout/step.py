"""
The state machine of a rolling upgrade: `step(state, event)` returns the next state and what to do.

It has no clock and no SSH: the driver performs the actions and reports what came of them as events. All
hosts are staged while the current build serves. Then the canary is upgraded alone, then batch after batch:
activate, gate, confirm or return.

The rules, which tests check as properties: an unreachable host counts as failed. The canary's failure, or
more failures than allowed, halts the rollout. A halt returns every host that is activated and not confirmed,
and discards what was staged elsewhere. A host whose gate failed is never confirmed. Only one wave is
unconfirmed at a time. Every sequence of events ends.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from strixfleet.rollout.rollout_state import (
    ENDS,
    FAILURES,
    UNCONFIRMED,
    Action,
    ActionKind,
    Event,
    EventKind,
    HostPhase,
    HostProgress,
    Rollout,
)


Step = tuple[Rollout, tuple[Action, ...]]
_BACK = (HostPhase.RETURNING, ActionKind.RETURN)
_MOVES: Mapping[tuple[HostPhase, EventKind], tuple[HostPhase, ActionKind | None]] = MappingProxyType(
    {
        (HostPhase.STAGING, EventKind.STAGED): (HostPhase.STAGED, None),
        (HostPhase.STAGING, EventKind.UNCHANGED): (HostPhase.UNCHANGED, None),
        (HostPhase.STAGING, EventKind.STAGE_FAILED): (HostPhase.FAILED, ActionKind.DISCARD),
        (HostPhase.STAGING, EventKind.LOST): (HostPhase.UNREACHABLE, None),
        (HostPhase.STAGING, EventKind.SILENT): (HostPhase.UNREACHABLE, None),
        (HostPhase.ACTIVATING, EventKind.ACTIVATED): (HostPhase.GATING, ActionKind.GATE),
        (HostPhase.ACTIVATING, EventKind.ACTIVATION_FAILED): _BACK,
        (HostPhase.ACTIVATING, EventKind.LOST): _BACK,
        (HostPhase.ACTIVATING, EventKind.SILENT): _BACK,
        (HostPhase.GATING, EventKind.GATE_PASSED): (HostPhase.CONFIRMING, ActionKind.CONFIRM),
        (HostPhase.GATING, EventKind.GATE_FAILED): _BACK,
        (HostPhase.GATING, EventKind.GATE_INVALID): (HostPhase.GATING, ActionKind.GATE),
        (HostPhase.GATING, EventKind.LOST): _BACK,
        (HostPhase.GATING, EventKind.SILENT): _BACK,
        (HostPhase.CONFIRMING, EventKind.CONFIRMED): (HostPhase.UPGRADED, None),
        (HostPhase.CONFIRMING, EventKind.CONFIRM_FAILED): _BACK,
        (HostPhase.CONFIRMING, EventKind.LOST): _BACK,
        (HostPhase.CONFIRMING, EventKind.SILENT): _BACK,
        (HostPhase.RETURNING, EventKind.RETURNED): (HostPhase.RETURNED, None),
        (HostPhase.RETURNING, EventKind.RETURN_FAILED): (HostPhase.FAILED, None),
        (HostPhase.RETURNING, EventKind.LOST): (HostPhase.UNREACHABLE, None),
        (HostPhase.RETURNING, EventKind.CONFIRMED): (HostPhase.UPGRADED, None),
    }
)


def step(state: Rollout, event: Event) -> Step:
    """Return the state after an event and what to do; an event that does not fit the state is ignored."""
    if state.finished:
        return state, ()
    if event.kind is EventKind.STOP:
        return _go_on(_stopped(state, event.reason or "stopped by the operator"), [])
    if event.kind is EventKind.BEGIN and not state.halted:
        waiting = state.in_phase(HostPhase.WAITING)
        begun = _with(state, *(replace(member, phase=HostPhase.STAGING) for member in waiting))
        return _go_on(begun, [Action(ActionKind.STAGE, member.name) for member in waiting])
    member = state.members.get(event.host)
    move = _MOVES.get((member.phase, event.kind)) if member else None
    if member is None or move is None:
        return state, ()
    moved, action = _move(member, event, move, state)
    return _go_on(_with(state, moved), [action] if action else [])


def _stopped(state: Rollout, reason: str) -> Rollout:
    """Halt for a reason that is not a host's; a halt that goes on already keeps its own."""
    return state if state.halted else replace(state, halted=reason, stopped=True)


def _with(state: Rollout, *members: HostProgress) -> Rollout:
    return replace(state, members={**state.members, **{member.name: member for member in members}})


def _move(
    member: HostProgress, event: Event, move: tuple[HostPhase, ActionKind | None], state: Rollout
) -> tuple[HostProgress, Action | None]:
    """Move one host; a halt, too many undecided gates and a late confirmation change the usual move."""
    phase, kind = move
    exhausted = event.kind is EventKind.GATE_INVALID and member.gates >= state.rules.max_gates
    if kind is ActionKind.GATE and (state.halted or exhausted):
        phase, kind = _BACK
    if member.phase is HostPhase.RETURNING and event.kind is EventKind.CONFIRMED and not member.passed:
        phase, event = HostPhase.FAILED, replace(event, reason="another operator has confirmed this build")
    moved = replace(
        member,
        phase=phase,
        reason=_reason(member, phase, event.reason),
        gates=member.gates + (kind is ActionKind.GATE),
        passed=member.passed or phase is HostPhase.CONFIRMING,
        confirmed=member.confirmed or phase is HostPhase.UPGRADED,
        condemned=member.condemned or event.kind is EventKind.GATE_FAILED,
    )
    if kind is ActionKind.RETURN:
        return moved, _return(moved)
    return moved, Action(kind, member.name, moved.reason) if kind else None


def _reason(member: HostProgress, phase: HostPhase, said: str) -> str:
    """Keep why a host is returned, and add why the return failed."""
    if phase not in FAILURES | {HostPhase.RETURNING}:
        return ""
    if member.phase is not HostPhase.RETURNING:
        return said
    parts = [member.reason] if phase is HostPhase.RETURNED else [member.reason, said]
    return "; ".join(dict.fromkeys(part for part in parts if part)) or said


def _failed(state: Rollout) -> tuple[HostProgress, ...]:
    """Return the hosts that count as failed; a host that had been confirmed does not."""
    bad = FAILURES | {HostPhase.RETURNING}
    return tuple(one for one in state.members.values() if one.phase in bad and not one.confirmed)


def _verdict(state: Rollout) -> str:
    """Return why to halt; empty to go on."""
    failed = _failed(state)
    canary = state.waves[0] if state.waves else ()
    for member in failed:
        if member.name in canary:
            return f"the canary {member.name} failed: {member.reason}"
    if len(failed) > state.rules.max_failures:
        names = ", ".join(member.name for member in failed)
        return f"{len(failed)} failed ({names}), {state.rules.max_failures} allowed"
    return ""


def _go_on(state: Rollout, actions: list[Action]) -> Step:
    """Halt, wait, open the next wave, or end."""
    if not state.halted:
        state = replace(state, halted=_verdict(state))
    if state.halted:
        return _wind_down(state, actions)
    if state.in_phase(HostPhase.WAITING, HostPhase.STAGING, *UNCONFIRMED):
        return state, tuple(actions)
    for number in range(state.wave + 1, len(state.waves)):
        ready = [state.members[name] for name in state.waves[number]]
        chosen = [member for member in ready if member.phase is HostPhase.STAGED]
        if chosen:
            begun = (replace(member, phase=HostPhase.ACTIVATING, activated=True) for member in chosen)
            opened = _with(state, *begun)
            actions += [Action(ActionKind.ACTIVATE, member.name) for member in chosen]
            return replace(opened, wave=number), tuple(actions)
    return replace(state, finished=True), (*actions, Action(ActionKind.DONE))


def _wind_down(state: Rollout, actions: list[Action]) -> Step:
    """Touch no other host, return what is not confirmed, and end when every host has an outcome."""
    why = f"halted: {state.halted}"
    returned = [HostPhase.GATING, *([HostPhase.UPGRADED] if state.rules.return_upgraded else [])]
    skipped = state.in_phase(HostPhase.WAITING, HostPhase.STAGED)
    returning = [replace(one, phase=HostPhase.RETURNING, reason=why) for one in state.in_phase(*returned)]
    actions += [Action(ActionKind.DISCARD, one.name, why) for one in skipped if one.phase is HostPhase.STAGED]
    actions += [_return(one) for one in returning]
    state = _with(state, *(replace(one, phase=HostPhase.SKIPPED, reason=why) for one in skipped), *returning)
    if all(member.phase in ENDS for member in state.members.values()):
        return replace(state, finished=True), (*actions, Action(ActionKind.HALT, reason=state.halted))
    return state, tuple(actions)


def _return(member: HostProgress) -> Action:
    """Return a host; a build that this rollout has confirmed is rolled back."""
    return Action(
        ActionKind.RETURN,
        member.name,
        member.reason,
        even_confirmed=member.confirmed,
        verdict=member.condemned,
    )


@dataclass(frozen=True, slots=True)
class ReportedBuilds:
    """The builds of a host when a rollout is resumed, by id: `pending` is on trial there."""

    current: str | None
    pending: str | None
    want: str


def resume(state: Rollout, reported: Mapping[str, ReportedBuilds | None]) -> Step:
    """
    Resume a rollout whose controller died; what a host reports counts more than the journal.

    Hosts that are upgraded or have failed stay so. A host that reverted because nobody renewed its lease
    starts over: that proves nothing about the build. A host that is still on trial is gated again. A rollout
    that was stopped goes on, and only where the build failed its gate is it not tried again.
    """
    moved = [
        _resumed(member, reported.get(member.name), stopped=state.stopped)
        for member in state.members.values()
    ]
    halted = "" if state.stopped else state.halted
    again = replace(_with(state, *moved), wave=-1, halted=halted, stopped=False)
    returns = [_return(one) for one in moved if one.phase is HostPhase.RETURNING]
    after, more = step(again, Event(EventKind.BEGIN)) if not again.halted else _go_on(again, [])
    gates = [Action(ActionKind.GATE, one.name) for one in after.in_phase(HostPhase.GATING)]
    return after, (*returns, *gates, *more)


def _resumed(member: HostProgress, builds: ReportedBuilds | None, *, stopped: bool) -> HostProgress:
    fresh = HostProgress(member.name)
    runs_want = builds is not None and builds.current == builds.want
    if member.phase in {HostPhase.UPGRADED, HostPhase.UNCHANGED}:
        return member if builds is None or runs_want else fresh
    if member.phase in FAILURES | {HostPhase.RETURNING} and (member.condemned or not stopped):
        return member
    if builds is None and member.phase in UNCONFIRMED:
        reason = "no answer since the rollout was interrupted"
        return replace(member, phase=HostPhase.RETURNING, reason=reason)
    if builds is None or not runs_want or member.phase not in UNCONFIRMED:
        return fresh
    if builds.pending:
        return replace(member, phase=HostPhase.GATING, passed=False)
    return replace(member, phase=HostPhase.UPGRADED, passed=False, confirmed=True)
