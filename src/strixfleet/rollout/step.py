"""
The state machine of a rolling upgrade: `step(state, event)` gives the next state and what to do.

No clock, no SSH: whoever drives it performs the actions and reports what came of them as events. All hosts
are staged while the old build serves; then the canary alone, then batches: activate, gate, confirm or return.

The rules, held by properties in tests/rollout: an unreachable host counts as failed; the canary's failure, or
more failures than allowed, halts; a halt returns every host that is activated and not confirmed, and discards
what was staged for hosts that were never touched; a host whose gate failed is never confirmed; only one wave
is unconfirmed at a time; every sequence ends.
"""

from collections.abc import Callable, Mapping
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
    """Return the state after an event and what is to be done; what does not fit the state is ignored."""
    if state.finished:
        return state, ()
    if event.kind is EventKind.STOP:
        return _go_on(replace(state, halted=state.halted or event.reason or "stopped by the operator"), [])
    if event.kind is EventKind.BEGIN and not state.halted:
        waiting = state.in_phase(HostPhase.WAITING)
        begun = _with(state, *(replace(member, standing=HostPhase.STAGING) for member in waiting))
        return _go_on(begun, [Action(ActionKind.STAGE, member.name) for member in waiting])
    member = state.members.get(event.host)
    move = _MOVES.get((member.standing, event.kind)) if member else None
    if member is None or move is None:
        return state, ()
    moved, action = _move(member, event, move, state)
    return _go_on(_with(state, moved), [action] if action else [])


def _with(state: Rollout, *members: HostProgress) -> Rollout:
    return replace(state, members={**state.members, **{member.name: member for member in members}})


def _move(
    member: HostProgress, event: Event, move: tuple[HostPhase, ActionKind | None], state: Rollout
) -> tuple[HostProgress, Action | None]:
    """Move one host: a halt, too many undecided gates and a late confirmation have their own ways."""
    standing, do = move
    exhausted = event.kind is EventKind.GATE_INVALID and member.gates >= state.rules.max_gates
    if do is ActionKind.GATE and (state.halted or exhausted):
        standing, do = _BACK
    if member.standing is HostPhase.RETURNING and event.kind is EventKind.CONFIRMED and not member.passed:
        standing, event = HostPhase.FAILED, replace(event, reason="somebody else has confirmed it")
    moved = replace(
        member,
        standing=standing,
        reason=_reason(member, standing, event.reason),
        passed=member.passed or standing is HostPhase.CONFIRMING,
        gates=member.gates + (do is ActionKind.GATE),
        done=member.done or standing is HostPhase.UPGRADED,
    )
    return moved, Action(do, member.name, moved.reason) if do else None


def _reason(member: HostProgress, standing: HostPhase, said: str) -> str:
    """Keep why a host is returned; add why even that did not go well."""
    if standing not in FAILURES | {HostPhase.RETURNING}:
        return ""
    if member.standing is not HostPhase.RETURNING:
        return said
    parts = [member.reason] if standing is HostPhase.RETURNED else [member.reason, said]
    return "; ".join(dict.fromkeys(part for part in parts if part)) or said


def _failed(state: Rollout) -> tuple[HostProgress, ...]:
    """Return the hosts that count as failed; one taken back after it was upgraded is not one of them."""
    bad = FAILURES | {HostPhase.RETURNING}
    return tuple(one for one in state.members.values() if one.standing in bad and not one.done)


def _verdict(state: Rollout) -> str:
    """Say why to halt, or nothing."""
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
        chosen = [member for member in ready if member.standing is HostPhase.STAGED]
        if chosen:
            opened = _with(state, *(replace(member, standing=HostPhase.ACTIVATING) for member in chosen))
            actions += [Action(ActionKind.ACTIVATE, member.name) for member in chosen]
            return replace(opened, wave=number), tuple(actions)
    return replace(state, finished=True), (*actions, Action(ActionKind.DONE))


def _wind_down(state: Rollout, actions: list[Action]) -> Step:
    """Touch nobody else, take back what is not confirmed, and end when all have an end."""
    ways: list[tuple[Callable[[HostProgress], bool], HostPhase, ActionKind | None]] = [
        (lambda one: one.standing is HostPhase.WAITING, HostPhase.SKIPPED, None),
        (lambda one: one.standing is HostPhase.STAGED, HostPhase.SKIPPED, ActionKind.DISCARD),
        (lambda one: one.standing is HostPhase.GATING, HostPhase.RETURNING, ActionKind.RETURN),
    ]
    if state.rules.return_upgraded:
        ways.append((lambda one: one.standing is HostPhase.UPGRADED, HostPhase.RETURNING, ActionKind.RETURN))
    for fits, standing, do in ways:
        chosen = [member for member in state.members.values() if fits(member)]
        why = f"halted: {state.halted}"
        state = _with(state, *(replace(one, standing=standing, reason=why) for one in chosen))
        actions += [Action(do, member.name, why) for member in chosen if do]
    if all(member.standing in ENDS for member in state.members.values()):
        return replace(state, finished=True), (*actions, Action(ActionKind.HALT, reason=state.halted))
    return state, tuple(actions)


@dataclass(frozen=True, slots=True)
class ReportedBuilds:
    """What a host says of itself when a rollout is taken up again: builds by id, None where there is none."""

    current: str | None
    pending: str | None
    want: str | None


def resume(state: Rollout, seen: Mapping[str, ReportedBuilds | None]) -> Step:
    """
    Take up a rollout whose controller died: the host's word counts, the journal's where it cannot be heard.

    Who is done or has failed stays so. Who went back because nobody renewed the lease starts over: that says
    nothing of the build. Who is still on trial goes through the gate again.
    """
    moved = [_resumed(member, seen.get(member.name)) for member in state.members.values()]
    again = replace(_with(state, *moved), wave=-1)
    back = [
        Action(ActionKind.RETURN, one.name, one.reason)
        for one in moved
        if one.standing is HostPhase.RETURNING
    ]
    after, more = step(again, Event(EventKind.BEGIN)) if not again.halted else _go_on(again, [])
    trial = [Action(ActionKind.GATE, one.name) for one in after.in_phase(HostPhase.GATING)]
    return after, (*back, *trial, *more)


def _resumed(member: HostProgress, sight: ReportedBuilds | None) -> HostProgress:
    fresh = HostProgress(member.name)
    if member.standing in {HostPhase.UPGRADED, HostPhase.UNCHANGED}:
        moved = sight is not None and sight.current != sight.want
        return fresh if moved else member
    if member.standing in FAILURES | {HostPhase.RETURNING}:
        return member
    if member.standing not in UNCONFIRMED:
        return fresh
    if sight is None:
        return replace(member, standing=HostPhase.RETURNING, reason="not heard of since the rollout was cut")
    if sight.current is None or sight.current != sight.want:
        return fresh
    return replace(member, standing=HostPhase.GATING if sight.pending else HostPhase.UPGRADED, passed=False)
