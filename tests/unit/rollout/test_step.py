"""The rules of a rolling upgrade, held by properties over every course of events."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strixfleet.rollout.rollout_state import (
    ENDS,
    FAILURES,
    UNCONFIRMED,
    Action,
    ActionKind,
    Event,
    EventKind,
    HostPhase,
    Rollout,
    Rules,
    from_json,
    new_rollout,
    to_json,
)
from strixfleet.rollout.step import ReportedBuilds, resume, step
from strixfleet.rollout.waves import plan_waves


ANSWERS = {
    ActionKind.STAGE: (EventKind.STAGED, EventKind.UNCHANGED, EventKind.STAGE_FAILED, EventKind.LOST),
    ActionKind.ACTIVATE: (EventKind.ACTIVATED, EventKind.ACTIVATION_FAILED, EventKind.LOST),
    ActionKind.GATE: (EventKind.GATE_PASSED, EventKind.GATE_FAILED, EventKind.GATE_INVALID, EventKind.LOST),
    ActionKind.CONFIRM: (EventKind.CONFIRMED, EventKind.CONFIRM_FAILED, EventKind.LOST),
    ActionKind.RETURN: (EventKind.RETURNED, EventKind.RETURN_FAILED, EventKind.LOST),
}
Choose = Callable[[Action], EventKind]


@dataclass
class World:
    """Hosts that answer as told, and that watch over the rules while they do."""

    state: Rollout
    choose: Choose
    activated: set[str] = field(default_factory=set)
    confirmed: set[str] = field(default_factory=set)
    discarded: set[str] = field(default_factory=set)
    gate_failed: set[str] = field(default_factory=set)
    ends: list[ActionKind] = field(default_factory=list)
    due: list[Action] = field(default_factory=list)
    most_waves_open: int = 0

    def take(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            if action.kind in {ActionKind.HALT, ActionKind.DONE}:
                self.ends.append(action.kind)
            elif action.kind is ActionKind.DISCARD:
                assert action.host not in self.activated
                self.discarded.add(action.host)
            else:
                self.due.append(action)
            if action.kind is ActionKind.ACTIVATE:
                assert not self.state.halted
                self.activated.add(action.host)
            if action.kind is ActionKind.CONFIRM:
                assert action.host not in self.gate_failed
        open_waves = {
            number
            for number, wave in enumerate(self.state.waves)
            if any(
                self.state.members[name].phase in UNCONFIRMED and not self.state.members[name].confirmed
                for name in wave
            )
        }
        self.most_waves_open = max(self.most_waves_open, len(open_waves))

    def answer(self, position: int) -> None:
        action = self.due.pop(position)
        kind = self.choose(action)
        if (
            action.kind is ActionKind.GATE
            and kind is not EventKind.GATE_PASSED
            and kind is not EventKind.GATE_INVALID
        ):
            self.gate_failed.add(action.host)
        if kind is EventKind.CONFIRMED:
            self.confirmed.add(action.host)
        self.happen(Event(kind, action.host, kind.value))

    def happen(self, event: Event) -> None:
        self.state, actions = step(self.state, event)
        self.take(actions)

    def run(self, pick: Callable[[int], int] = lambda _count: 0) -> "World":
        self.happen(Event(EventKind.BEGIN))
        for _ in range(10_000):
            if not self.due:
                return self
            self.answer(pick(len(self.due)))
        raise AssertionError("it does not end")


def good(action: Action) -> EventKind:
    return ANSWERS[action.kind][0]


def check_end(world: World) -> None:
    state = world.state
    assert state.finished
    assert len(world.ends) == 1
    assert all(member.phase in ENDS for member in state.members.values())
    assert world.most_waves_open <= 1
    for member in state.members.values():
        if member.phase is HostPhase.UPGRADED:
            assert member.name in world.confirmed
        if member.phase is HostPhase.SKIPPED:
            assert member.name not in world.activated
    canary = state.members[state.waves[0][0]]
    if canary.phase in FAILURES and not canary.confirmed:
        assert world.activated <= {canary.name}


@st.composite
def fleets(draw: st.DrawFn) -> Rollout:
    hosts = [f"h{number}" for number in range(draw(st.integers(1, 9)))]
    batch: int | str = draw(st.one_of(st.integers(1, 4), st.sampled_from(["10%", "34%", "100%"])))
    rules = Rules(
        draw(st.integers(0, 3)), max_gates=draw(st.integers(1, 3)), return_upgraded=draw(st.booleans())
    )
    return new_rollout(plan_waves(hosts, draw(st.sampled_from([None, *hosts])), batch), rules)


@given(fleets(), st.data())
@settings(max_examples=150, deadline=None)
def test_every_course_of_events_ends_and_keeps_the_rules(rollout: Rollout, data: st.DataObject) -> None:
    def choose(action: Action) -> EventKind:
        kinds = ANSWERS[action.kind]
        return kinds[0] if data.draw(st.integers(0, 3)) else data.draw(st.sampled_from(kinds))

    world = World(rollout, choose).run(lambda count: data.draw(st.integers(0, count - 1)))
    check_end(world)
    failed = [one for one in world.state.members.values() if one.phase in FAILURES and not one.confirmed]
    if len(failed) > rollout.rules.max_failures:
        assert world.ends == [ActionKind.HALT]
    if not failed:
        assert world.ends == [ActionKind.DONE]


@given(fleets(), st.data())
@settings(max_examples=80, deadline=None)
def test_stray_repeated_and_late_events_break_no_rule(rollout: Rollout, data: st.DataObject) -> None:
    world = World(rollout, good)
    world.happen(Event(EventKind.BEGIN))
    while world.due:
        if data.draw(st.booleans()):
            stray = Event(
                data.draw(st.sampled_from(list(EventKind))),
                data.draw(st.sampled_from([*rollout.members, "nobody"])),
            )
            if stray.kind is EventKind.GATE_FAILED:
                world.gate_failed |= (
                    {stray.host}
                    if world.state.members.get(stray.host)
                    and world.state.members[stray.host].phase is HostPhase.GATING
                    else set()
                )
            if (
                stray.kind is EventKind.CONFIRMED
                and stray.host in world.state.members
                and world.state.members[stray.host].phase in {HostPhase.CONFIRMING, HostPhase.RETURNING}
            ):
                world.confirmed.add(stray.host)
            world.happen(stray)
        if world.due:
            world.answer(data.draw(st.integers(0, len(world.due) - 1)))
    check_end(world)


@given(fleets(), st.data())
@settings(max_examples=80, deadline=None)
def test_a_cut_rollout_goes_on_and_redoes_nobody_who_is_done(rollout: Rollout, data: st.DataObject) -> None:
    world = World(rollout, good)
    world.happen(Event(EventKind.BEGIN))
    for _ in range(data.draw(st.integers(0, 40))):
        if world.due:
            world.answer(data.draw(st.integers(0, len(world.due) - 1)))
    if world.state.finished:
        return
    done = {one.name for one in world.state.in_phase(HostPhase.UPGRADED)}
    seen: dict[str, ReportedBuilds | None] = {}
    for name, member in world.state.members.items():
        if name in world.confirmed:
            seen[name] = ReportedBuilds("new", None, "new")
        elif member.phase in UNCONFIRMED:
            trial, home, unreachable = (
                ReportedBuilds("new", "new", "new"),
                ReportedBuilds("old", None, "new"),
                None,
            )
            seen[name] = data.draw(st.sampled_from([trial, home, unreachable]))
        else:
            seen[name] = ReportedBuilds("old", None, "new")
    again = World(from_json(json.loads(json.dumps(to_json(world.state)))), good)
    again.confirmed |= world.confirmed
    again.activated |= world.activated - {one for one, sight in seen.items() if sight and not sight.pending}
    again.state, actions = resume(again.state, seen)
    again.take(actions)
    touched = {action.host for action in actions}
    while again.due:
        touched |= {action.host for action in again.due}
        again.answer(data.draw(st.integers(0, len(again.due) - 1)))
    assert again.state.finished
    if again.ends == [ActionKind.DONE] or not rollout.rules.return_upgraded:
        assert not touched & done
    if all(seen.values()):
        assert again.ends == [ActionKind.DONE]


PHASES = [
    (ActionKind.STAGE, EventKind.STAGE_FAILED),
    (ActionKind.STAGE, EventKind.LOST),
    (ActionKind.ACTIVATE, EventKind.ACTIVATION_FAILED),
    (ActionKind.ACTIVATE, EventKind.LOST),
    (ActionKind.GATE, EventKind.GATE_FAILED),
    (ActionKind.GATE, EventKind.LOST),
    (ActionKind.CONFIRM, EventKind.CONFIRM_FAILED),
    (ActionKind.CONFIRM, EventKind.LOST),
]


@pytest.mark.parametrize("allowed", [0, 1])
@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: f"{phase[0]}-{phase[1]}")
@pytest.mark.parametrize("batch", [1, "25%"])
def test_failure_of_each_host_of_twenty_in_each_phase(
    batch: int | str, phase: tuple[ActionKind, EventKind], allowed: int
) -> None:
    hosts = [f"h{number:02}" for number in range(20)]
    waves = plan_waves(hosts, None, batch)
    for position, victim in enumerate(hosts):

        def choose(action: Action, victim: str = victim) -> EventKind:
            return phase[1] if (action.kind, action.host) == (phase[0], victim) else good(action)

        world = World(new_rollout(waves, Rules(allowed)), choose).run()
        check_end(world)
        wave = next(number for number, names in enumerate(waves) if victim in names)
        upgraded = {one.name for one in world.state.in_phase(HostPhase.UPGRADED)}
        earlier = {name for names in waves[:wave] for name in names}
        later = {name for names in waves[wave + 1 :] for name in names}
        if allowed and position:
            assert world.ends == [ActionKind.DONE]
            assert upgraded == set(hosts) - {victim}
            continue
        assert world.ends == [ActionKind.HALT]
        if phase[0] is ActionKind.STAGE:
            assert not world.activated
            assert world.discarded | {victim} == set(hosts)
            continue
        assert earlier <= upgraded
        assert not later & world.activated
        assert later == world.discarded - {victim}
        assert world.state.members[victim].phase is HostPhase.RETURNED


def test_what_does_not_stage_leaves_nothing_behind() -> None:
    world = World(new_rollout([["a"]], Rules()), lambda action: ANSWERS[action.kind][2]).run()
    assert world.state.members["a"].phase is HostPhase.FAILED
    assert world.discarded == {"a"}


def test_one_failure_more_than_allowed_halts() -> None:
    waves = plan_waves([f"h{number}" for number in range(8)], None, 1)
    bad = {"h2", "h4", "h6"}

    def choose(action: Action) -> EventKind:
        return (
            EventKind.GATE_FAILED if action.kind is ActionKind.GATE and action.host in bad else good(action)
        )

    world = World(new_rollout(waves, Rules(2)), choose).run()
    assert world.ends == [ActionKind.HALT]
    assert world.activated == {f"h{number}" for number in range(7)}
    assert world.discarded == {"h7"}
    assert "h2, h4, h6" in world.state.halted


def test_an_undecided_gate_is_repeated_and_then_returned() -> None:
    gates: list[str] = []

    def choose(action: Action) -> EventKind:
        if action.kind is ActionKind.GATE:
            gates.append(action.host)
            return EventKind.GATE_INVALID
        return good(action)

    world = World(new_rollout([["a"], ["b"]], Rules()), choose).run()
    assert gates == ["a", "a", "a"]
    assert world.state.members["a"].phase is HostPhase.RETURNED
    assert world.state.members["b"].phase is HostPhase.SKIPPED


def test_the_reason_is_that_of_the_failure_and_of_a_return_that_failed() -> None:
    world = World(new_rollout([["a"]]), good)
    world.happen(Event(EventKind.BEGIN))
    for kind, reason in (
        (EventKind.STAGED, "x"),
        (EventKind.ACTIVATED, "x"),
        (EventKind.GATE_INVALID, "hot"),
        (EventKind.GATE_FAILED, "slow"),
        (EventKind.RETURN_FAILED, "the old one is dead"),
    ):
        world.happen(Event(kind, "a", reason))
    assert world.state.members["a"].reason == "slow; the old one is dead"
    assert world.state.halted == "the canary a failed: slow"


def test_stop_returns_what_is_on_trial_and_upgraded_hosts_go_back_by_choice() -> None:
    for choice, end in ((False, HostPhase.UPGRADED), (True, HostPhase.RETURNED)):
        world = World(new_rollout([["a"], ["b"], ["c"]], Rules(return_upgraded=choice)), good)
        world.happen(Event(EventKind.BEGIN))
        while not (world.due and (world.due[0].kind, world.due[0].host) == (ActionKind.GATE, "b")):
            world.answer(0)
        world.happen(Event(EventKind.STOP))
        while world.due:
            world.answer(0)
        check_end(world)
        assert [world.state.members[name].phase for name in "abc"] == [
            end,
            HostPhase.RETURNED,
            HostPhase.SKIPPED,
        ]


def until(world: World, kind: ActionKind, host: str) -> None:
    """Answer well up to an action, which stays due."""
    world.happen(Event(EventKind.BEGIN))
    while (world.due[0].kind, world.due[0].host) != (kind, host):
        world.answer(0)


@pytest.mark.parametrize(
    ("event", "is_verdict"),
    [
        (EventKind.GATE_FAILED, True),
        (EventKind.GATE_INVALID, False),
        (EventKind.LOST, False),
        (EventKind.SILENT, False),
        (EventKind.STOP, False),
    ],
)
def test_only_a_failed_gate_is_a_verdict_on_the_build(event: EventKind, *, is_verdict: bool) -> None:
    world = World(new_rollout([["a"]], Rules(max_gates=1)), good)
    until(world, ActionKind.GATE, "a")
    world.due.clear()
    world.happen(Event(event, "" if event is EventKind.STOP else "a"))
    assert [(one.kind, one.verdict) for one in world.due] == [(ActionKind.RETURN, is_verdict)]


def test_a_host_that_a_halt_returns_says_nothing_about_the_build() -> None:
    world = World(new_rollout([["a"], ["b", "c"]]), good)
    until(world, ActionKind.GATE, "b")
    world.due.clear()
    world.happen(Event(EventKind.ACTIVATED, "c"))
    world.happen(Event(EventKind.GATE_FAILED, "b"))
    verdicts = {one.host: one.verdict for one in world.due if one.kind is ActionKind.RETURN}
    assert verdicts == {"b": True, "c": False}


def kept(state: Rollout) -> Rollout:
    return from_json(json.loads(json.dumps(to_json(state))))


def test_a_rollout_that_was_stopped_and_cut_goes_on_where_it_was() -> None:
    """The operator interrupted twice: the second time, b was still on trial."""
    world = World(new_rollout([["a"], ["b"], ["c"]]), good)
    until(world, ActionKind.GATE, "b")
    world.happen(Event(EventKind.STOP, reason="stopped by the operator"))
    home, trial, done = (
        ReportedBuilds("old", None, "new"),
        ReportedBuilds("new", "new", "new"),
        ReportedBuilds("new", None, "new"),
    )
    for b, begins in ((trial, ActionKind.GATE), (home, ActionKind.STAGE)):
        again = World(kept(world.state), good, activated={"a", "b"}, confirmed={"a"})
        again.state, actions = resume(again.state, {"a": done, "b": b, "c": home})
        assert begins in {one.kind for one in actions if one.host == "b"}
        again.take(actions)
        while again.due:
            again.answer(0)
        assert again.ends == [ActionKind.DONE]
        assert {one.phase for one in again.state.members.values()} == {HostPhase.UPGRADED}


def test_a_verdict_outlives_a_stop() -> None:
    world = World(new_rollout([["a"], ["b"]]), good)
    until(world, ActionKind.GATE, "a")
    world.happen(Event(EventKind.GATE_FAILED, "a", "slow"))
    world.happen(Event(EventKind.STOP, reason="stopped by the operator"))
    seen: dict[str, ReportedBuilds | None] = dict.fromkeys("ab", ReportedBuilds("old", None, "new"))
    state, actions = resume(kept(world.state), seen)
    assert state.halted == "the canary a failed: slow"
    assert [(one.kind, one.host, one.verdict) for one in actions] == [(ActionKind.RETURN, "a", True)]


def test_waves() -> None:
    hosts = ["a", "b", "c", "d", "e"]
    assert plan_waves(hosts, "c", 2) == (("c",), ("a", "b"), ("d", "e"))
    assert plan_waves(hosts, None, "40%") == (("a",), ("b", "c"), ("d", "e"))
    assert plan_waves(hosts, None, "1%") == (("a",), ("b",), ("c",), ("d",), ("e",))
    assert plan_waves([], None, 1) == ()
    with pytest.raises(Exception, match="the canary x is not among"):
        plan_waves(hosts, "x", 1)
