"""The work on one host: when a return rolls back a confirmed build, and over which connection it goes."""

from collections.abc import Sequence
from typing import Any, cast

import pytest

from strixfleet.errors import ChangeFailed, Unreachable
from strixfleet.hosts.connections import Connections
from strixfleet.hosts.host_program import HostAnswer, HostProgram
from strixfleet.hosts.remote import CommandResult
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.rollout.gate_watch import Watch
from strixfleet.rollout.host_work import HostWork, RolloutContext
from strixfleet.rollout.rollout_state import (
    Action,
    ActionKind,
    Event,
    EventKind,
    HostPhase,
    Rules,
    new_rollout,
)
from strixfleet.rollout.step import step
from tests.fixtures.rollout_hosts import answer, surveyed


HOST = surveyed("h1")
WANT = HOST.want.id


class Line:
    """A connection of which nothing but its being opened and closed matters."""

    def __init__(self, opened: list["Line"]) -> None:
        opened.append(self)
        self.closed = False

    def run(self, argv: Sequence[str], *, timeout_s: float, become: bool = True) -> CommandResult:
        raise NotImplementedError

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the new build be current and confirmed; return the verbs that the host program is asked for."""
    verbs: list[str] = []

    def call(_program: HostProgram, *words: str, **_more: object) -> HostAnswer:
        verbs.append(words[0])
        return answer("b1" if "rollback" in verbs else WANT)

    monkeypatch.setattr(HostProgram, "call", cast("Any", call))
    monkeypatch.setattr(Watch, "settled", lambda _watch, _remote: "")
    return verbs


def work(opened: list[Line] | None = None) -> HostWork:
    def connect(_host: Host) -> Line:
        return Line([] if opened is None else opened)

    context = RolloutContext(
        Connections(connect), "/known", 0.0, 0.0, False, lambda _name: 7, lambda _host, **_facts: None
    )
    return HostWork(HOST, canary=True, context=context)


@pytest.mark.parametrize("reason", ["halted: the canary a failed", "halted: x", "no heartbeat for 30 s", ""])
def test_a_confirmed_build_is_rolled_back_only_when_the_action_says_so(asked: list[str], reason: str) -> None:
    """Whatever the reason says: it is English, for people."""
    kept = work().do(Action(ActionKind.RETURN, "h1", reason))
    assert (kept.kind, asked) == (EventKind.CONFIRMED, ["status"])
    asked.clear()
    back = work().do(Action(ActionKind.RETURN, "h1", reason, even_confirmed=True))
    assert (back.kind, asked) == (EventKind.RETURNED, ["status", "rollback", "discard"])


def test_a_halt_rolls_back_what_the_rollout_has_confirmed_and_nothing_else() -> None:
    state = new_rollout([["a"], ["b", "c"]], Rules(return_upgraded=True))
    state, _ = step(state, Event(EventKind.BEGIN))
    for name in "abc":
        state, _ = step(state, Event(EventKind.STAGED, name))
    for kind in (EventKind.ACTIVATED, EventKind.GATE_PASSED, EventKind.CONFIRMED):
        state, _ = step(state, Event(kind, "a"))
    for name in "bc":
        state, _ = step(state, Event(EventKind.ACTIVATED, name))
    state, actions = step(state, Event(EventKind.GATE_FAILED, "b", "slow"))
    returned = {one.host: one.even_confirmed for one in actions if one.kind is ActionKind.RETURN}
    assert returned == {"a": True, "b": False, "c": False}
    assert {one.phase for one in state.members.values()} == {HostPhase.RETURNING}


def test_a_return_ends_measurements_and_confirm_takes_a_new_connection(asked: list[str]) -> None:
    opened: list[Line] = []
    one = work(opened)
    kept = one.context.connections.to(HOST.host)
    with pytest.raises(NotImplementedError):
        kept.run(["measure"], timeout_s=1)
    assert one.do(Action(ActionKind.CONFIRM, "h1")).kind is EventKind.CONFIRMED
    assert [line.closed for line in opened] == [False, True]
    one.do(Action(ActionKind.RETURN, "h1"))
    assert [line.closed for line in opened] == [True, True]


def test_a_host_that_does_not_answer_is_lost_once_its_lease_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def call(_program: HostProgram, *_words: str, **_more: object) -> HostAnswer:
        raise Unreachable("timed out", where="h1")

    monkeypatch.setattr(HostProgram, "call", cast("Any", call))
    monkeypatch.setattr("strixfleet.rollout.host_work.RETURN_GRACE_S", -1.0)
    event = work().do(Action(ActionKind.RETURN, "h1", "slow"))
    assert event.kind is EventKind.LOST
    assert event.reason == "timed out; a build on trial reverts by itself when its lease is over"


@pytest.mark.parametrize("verdict", [True, False])
def test_the_host_is_told_to_forget_a_return_that_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, *, verdict: bool
) -> None:
    said: list[tuple[str, ...]] = []

    def call(_program: HostProgram, *words: str, **_more: object) -> HostAnswer:
        said.append(words)
        return answer(WANT, {"to": WANT}) if words == ("status",) else answer("b1")

    monkeypatch.setattr(HostProgram, "call", cast("Any", call))
    monkeypatch.setattr(Watch, "settled", lambda _watch, _remote: "")
    assert work().do(Action(ActionKind.RETURN, "h1", "slow", verdict=verdict)).kind is EventKind.RETURNED
    (returned,) = [words for words in said if words[0] == "return"]
    assert ("--forget" not in returned) is verdict


def test_an_error_of_ours_in_a_gate_does_not_judge_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    def gate(_work: HostWork) -> Event:
        raise ChangeFailed("the history is locked")

    monkeypatch.setattr(HostWork, "gate", gate)
    assert work().do(Action(ActionKind.GATE, "h1")).kind is EventKind.GATE_INVALID
