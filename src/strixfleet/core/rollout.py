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

from strixfleet.core.rollout_state import (
    ENDS,
    FAILURES,
    UNCONFIRMED,
    Action,
    Do,
    Event,
    Kind,
    Member,
    Rollout,
    Standing,
)


Step = tuple[Rollout, tuple[Action, ...]]
_BACK = (Standing.RETURNING, Do.RETURN)
_MOVES: Mapping[tuple[Standing, Kind], tuple[Standing, Do | None]] = MappingProxyType(
    {
        (Standing.STAGING, Kind.STAGED): (Standing.STAGED, None),
        (Standing.STAGING, Kind.UNCHANGED): (Standing.UNCHANGED, None),
        (Standing.STAGING, Kind.STAGE_FAILED): (Standing.FAILED, Do.DISCARD),
        (Standing.STAGING, Kind.LOST): (Standing.UNREACHABLE, None),
        (Standing.STAGING, Kind.SILENT): (Standing.UNREACHABLE, None),
        (Standing.ACTIVATING, Kind.ACTIVATED): (Standing.GATING, Do.GATE),
        (Standing.ACTIVATING, Kind.ACTIVATION_FAILED): _BACK,
        (Standing.ACTIVATING, Kind.LOST): _BACK,
        (Standing.ACTIVATING, Kind.SILENT): _BACK,
        (Standing.GATING, Kind.GATE_PASSED): (Standing.CONFIRMING, Do.CONFIRM),
        (Standing.GATING, Kind.GATE_FAILED): _BACK,
        (Standing.GATING, Kind.GATE_INVALID): (Standing.GATING, Do.GATE),
        (Standing.GATING, Kind.LOST): _BACK,
        (Standing.GATING, Kind.SILENT): _BACK,
        (Standing.CONFIRMING, Kind.CONFIRMED): (Standing.UPGRADED, None),
        (Standing.CONFIRMING, Kind.CONFIRM_FAILED): _BACK,
        (Standing.CONFIRMING, Kind.LOST): _BACK,
        (Standing.CONFIRMING, Kind.SILENT): _BACK,
        (Standing.RETURNING, Kind.RETURNED): (Standing.RETURNED, None),
        (Standing.RETURNING, Kind.RETURN_FAILED): (Standing.FAILED, None),
        (Standing.RETURNING, Kind.LOST): (Standing.UNREACHABLE, None),
        (Standing.RETURNING, Kind.CONFIRMED): (Standing.UPGRADED, None),
    }
)


def step(state: Rollout, event: Event) -> Step:
    """Give the state after an event and what is to be done; what does not fit the state is ignored."""
    if state.finished:
        return state, ()
    if event.kind is Kind.STOP:
        return _go_on(replace(state, halted=state.halted or event.reason or "stopped by the operator"), [])
    if event.kind is Kind.BEGIN and not state.halted:
        waiting = state.those(Standing.WAITING)
        begun = _with(state, *(replace(member, standing=Standing.STAGING) for member in waiting))
        return _go_on(begun, [Action(Do.STAGE, member.name) for member in waiting])
    member = state.members.get(event.host)
    move = _MOVES.get((member.standing, event.kind)) if member else None
    if member is None or move is None:
        return state, ()
    moved, action = _move(member, event, move, state)
    return _go_on(_with(state, moved), [action] if action else [])


def _with(state: Rollout, *members: Member) -> Rollout:
    return replace(state, members={**state.members, **{member.name: member for member in members}})


def _move(
    member: Member, event: Event, move: tuple[Standing, Do | None], state: Rollout
) -> tuple[Member, Action | None]:
    """Move one host: a halt, too many undecided gates and a late confirmation have their own ways."""
    standing, do = move
    exhausted = event.kind is Kind.GATE_INVALID and member.gates >= state.rules.max_gates
    if do is Do.GATE and (state.halted or exhausted):
        standing, do = _BACK
    if member.standing is Standing.RETURNING and event.kind is Kind.CONFIRMED and not member.passed:
        standing, event = Standing.FAILED, replace(event, reason="somebody else has confirmed it")
    moved = replace(
        member,
        standing=standing,
        reason=_reason(member, standing, event.reason),
        passed=member.passed or standing is Standing.CONFIRMING,
        gates=member.gates + (do is Do.GATE),
        done=member.done or standing is Standing.UPGRADED,
    )
    return moved, Action(do, member.name, moved.reason) if do else None


def _reason(member: Member, standing: Standing, said: str) -> str:
    """Keep why a host is returned; add why even that did not go well."""
    if standing not in FAILURES | {Standing.RETURNING}:
        return ""
    if member.standing is not Standing.RETURNING:
        return said
    parts = [member.reason] if standing is Standing.RETURNED else [member.reason, said]
    return "; ".join(dict.fromkeys(part for part in parts if part)) or said


def _failed(state: Rollout) -> tuple[Member, ...]:
    """Give the hosts that count as failed; one taken back after it was upgraded is not one of them."""
    bad = FAILURES | {Standing.RETURNING}
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
    if state.those(Standing.WAITING, Standing.STAGING, *UNCONFIRMED):
        return state, tuple(actions)
    for number in range(state.wave + 1, len(state.waves)):
        ready = [state.members[name] for name in state.waves[number]]
        chosen = [member for member in ready if member.standing is Standing.STAGED]
        if chosen:
            opened = _with(state, *(replace(member, standing=Standing.ACTIVATING) for member in chosen))
            actions += [Action(Do.ACTIVATE, member.name) for member in chosen]
            return replace(opened, wave=number), tuple(actions)
    return replace(state, finished=True), (*actions, Action(Do.DONE))


def _wind_down(state: Rollout, actions: list[Action]) -> Step:
    """Touch nobody else, take back what is not confirmed, and end when all have an end."""
    ways: list[tuple[Callable[[Member], bool], Standing, Do | None]] = [
        (lambda one: one.standing is Standing.WAITING, Standing.SKIPPED, None),
        (lambda one: one.standing is Standing.STAGED, Standing.SKIPPED, Do.DISCARD),
        (lambda one: one.standing is Standing.GATING, Standing.RETURNING, Do.RETURN),
    ]
    if state.rules.return_upgraded:
        ways.append((lambda one: one.standing is Standing.UPGRADED, Standing.RETURNING, Do.RETURN))
    for fits, standing, do in ways:
        chosen = [member for member in state.members.values() if fits(member)]
        why = f"halted: {state.halted}"
        state = _with(state, *(replace(one, standing=standing, reason=why) for one in chosen))
        actions += [Action(do, member.name, why) for member in chosen if do]
    if all(member.standing in ENDS for member in state.members.values()):
        return replace(state, finished=True), (*actions, Action(Do.HALT, reason=state.halted))
    return state, tuple(actions)


@dataclass(frozen=True, slots=True)
class Sight:
    """What a host says of itself when a rollout is taken up again: builds by id, None where there is none."""

    current: str | None
    pending: str | None
    want: str | None


def resume(state: Rollout, seen: Mapping[str, Sight | None]) -> Step:
    """
    Take up a rollout whose controller died: the host's word counts, the journal's where it cannot be heard.

    Who is done or has failed stays so. Who went back because nobody renewed the lease starts over: that says
    nothing of the build. Who is still on trial goes through the gate again.
    """
    moved = [_resumed(member, seen.get(member.name)) for member in state.members.values()]
    again = replace(_with(state, *moved), wave=-1)
    back = [Action(Do.RETURN, one.name, one.reason) for one in moved if one.standing is Standing.RETURNING]
    after, more = step(again, Event(Kind.BEGIN)) if not again.halted else _go_on(again, [])
    trial = [Action(Do.GATE, one.name) for one in after.those(Standing.GATING)]
    return after, (*back, *trial, *more)


def _resumed(member: Member, sight: Sight | None) -> Member:
    fresh = Member(member.name)
    if member.standing in {Standing.UPGRADED, Standing.UNCHANGED}:
        moved = sight is not None and sight.current != sight.want
        return fresh if moved else member
    if member.standing in FAILURES | {Standing.RETURNING}:
        return member
    if member.standing not in UNCONFIRMED:
        return fresh
    if sight is None:
        return replace(member, standing=Standing.RETURNING, reason="not heard of since the rollout was cut")
    if sight.current is None or sight.current != sight.want:
        return fresh
    return replace(member, standing=Standing.GATING if sight.pending else Standing.UPGRADED, passed=False)
