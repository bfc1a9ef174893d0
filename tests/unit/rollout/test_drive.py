"""The driver with hosts that are functions: twenty of them, threads and journal are real."""

import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from strixfleet.on_host.questions import Json
from strixfleet.rollout.drive import Driver
from strixfleet.rollout.host_work import HostWork
from strixfleet.rollout.journal import Journal, begin, find_unfinished
from strixfleet.rollout.rollout_state import (
    Action,
    ActionKind,
    Event,
    EventKind,
    HostPhase,
    Rollout,
    Rules,
    new_rollout,
)
from strixfleet.rollout.step import ReportedBuilds
from strixfleet.rollout.waves import plan_waves


GOOD = {
    ActionKind.ACTIVATE: EventKind.ACTIVATED,
    ActionKind.GATE: EventKind.GATE_PASSED,
    ActionKind.CONFIRM: EventKind.CONFIRMED,
    ActionKind.RETURN: EventKind.RETURNED,
    ActionKind.DISCARD: EventKind.STAGED,
}
Answer = Callable[[Action], EventKind]
ABOUT: dict[str, Json] = {"inventory": ["/i"], "refs": ["b2"], "want": {}}


class Work:
    """A host that does as it is told, and remembers what it was asked."""

    def __init__(self, name: str, answer: Answer) -> None:
        self.name = name
        self.answer = answer
        self.asked: list[ActionKind] = []

    def do(self, action: Action) -> Event:
        self.asked.append(action.kind)
        return Event(self.answer(action), self.name, "why")


class Fleet:
    """Hosts, and a rollout over them."""

    def __init__(self, folder: Path, count: int, answer: Answer) -> None:
        self.names = [f"h{number:02}" for number in range(count)]
        self.works = {name: Work(name, answer) for name in self.names}
        self.answer = answer
        self.journal: Journal = begin(ABOUT, folder)

    def stage(self, names: Sequence[str]) -> Mapping[str, Event]:
        return {name: Event(self.answer(Action(ActionKind.STAGE, name)), name) for name in names}

    def driver(self) -> Driver:
        return Driver(cast("dict[str, HostWork]", self.works), self.stage, self.journal)

    def run(self, batch: int | str, allowed: int = 0) -> Rollout:
        return self.driver().run(new_rollout(plan_waves(self.names, None, batch), Rules(allowed)), None)


def good(action: Action) -> EventKind:
    return GOOD.get(action.kind, EventKind.STAGED)


@pytest.mark.parametrize(
    "phase",
    [
        (ActionKind.GATE, EventKind.GATE_FAILED),
        (ActionKind.GATE, EventKind.LOST),
        (ActionKind.CONFIRM, EventKind.LOST),
    ],
)
def test_each_of_twenty_hosts_fails_once(tmp_path: Path, phase: tuple[ActionKind, EventKind]) -> None:
    for position in range(20):
        victim = f"h{position:02}"

        def answer(action: Action, victim: str = victim) -> EventKind:
            return phase[1] if (action.kind, action.host) == (phase[0], victim) else good(action)

        fleet = Fleet(tmp_path / victim, 20, answer)
        waves = plan_waves(fleet.names, None, "25%")
        ended = fleet.run("25%")
        assert ended.finished
        assert ended.members[victim].phase is HostPhase.RETURNED
        wave = next(number for number, names in enumerate(waves) if victim in names)
        later = [name for names in waves[wave + 1 :] for name in names]
        assert all(ActionKind.ACTIVATE not in fleet.works[name].asked for name in later)
        assert all(fleet.works[name].asked == [ActionKind.DISCARD] for name in later)
        assert all(
            ended.members[name].phase is HostPhase.UPGRADED for names in waves[:wave] for name in names
        )
        assert "halted: " in fleet.journal.path.with_suffix(".log").read_text()


def test_a_defect_in_one_hosts_work_returns_that_host(tmp_path: Path) -> None:
    def answer(action: Action) -> EventKind:
        if (action.kind, action.host) == (ActionKind.GATE, "h01"):
            raise RuntimeError("no such thing")
        return good(action)

    ended = Fleet(tmp_path, 3, answer).run(1)
    assert ended.members["h01"].phase is HostPhase.RETURNED
    assert "a defect in strixfleet: RuntimeError: no such thing" in ended.members["h01"].reason
    assert ended.members["h02"].phase is HostPhase.SKIPPED


def test_a_cut_rollout_is_taken_up_from_its_journal(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 4, good)

    class CutError(Exception):
        pass

    class Dying(Driver):
        def _record(self, event: Event, state: Rollout) -> None:
            super()._record(event, state)
            if (event.kind, event.host) == (EventKind.GATE_PASSED, "h01"):
                raise CutError

    works = cast("dict[str, HostWork]", fleet.works)
    with pytest.raises(CutError):
        Dying(works, fleet.stage, fleet.journal).run(new_rollout(plan_waves(fleet.names, None, 1)), None)
    found = find_unfinished(ABOUT, tmp_path)
    assert found is not None
    assert found.state is not None
    sights: dict[str, ReportedBuilds | None] = {
        name: ReportedBuilds("old", None, "new") for name in fleet.names
    }
    sights |= {"h00": ReportedBuilds("new", None, "new"), "h01": ReportedBuilds("new", "new", "new")}
    for work in fleet.works.values():
        work.asked.clear()
    ended = Driver(works, fleet.stage, found).run(found.state, sights)
    assert {member.phase for member in ended.members.values()} == {HostPhase.UPGRADED}
    assert fleet.works["h00"].asked == []
    assert fleet.works["h01"].asked == [ActionKind.GATE, ActionKind.CONFIRM]


def test_an_interruption_returns_and_a_second_one_ends(tmp_path: Path) -> None:
    driver: list[Any] = []

    def answer(action: Action) -> EventKind:
        if (action.kind, action.host) == (ActionKind.GATE, "h01"):
            driver[0].events.put(Event(EventKind.STOP, reason="stopped by the operator"))
        return good(action)

    fleet = Fleet(tmp_path, 3, answer)
    driver.append(fleet.driver())
    ended = driver[0].run(new_rollout(plan_waves(fleet.names, None, 1)), None)
    assert ended.halted == "stopped by the operator"
    assert ended.members["h00"].phase is HostPhase.UPGRADED
    assert ended.members["h01"].phase in {HostPhase.RETURNED, HostPhase.UPGRADED}
    assert ended.members["h02"].phase is HostPhase.SKIPPED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_rollout_wherever_it_comes(tmp_path: Path, number: signal.Signals) -> None:
    """Also between two events, where nothing waits for one: the hosts on trial return."""

    class Interrupted(Driver):
        def _begin_on_host(self, action: Action) -> None:
            super()._begin_on_host(action)
            if (action.kind, action.host) == (ActionKind.GATE, "h01"):
                os.kill(os.getpid(), number)

    fleet = Fleet(tmp_path, 3, good)
    driver = Interrupted(cast("dict[str, HostWork]", fleet.works), fleet.stage, fleet.journal)
    before = signal.getsignal(number)
    ended = driver.run(new_rollout(plan_waves(fleet.names, None, 1)), None)
    assert ended.finished
    assert (ended.stopped, ended.halted) == (True, "stopped by the operator")
    assert ended.members["h02"].phase is HostPhase.SKIPPED
    assert signal.getsignal(number) == before


def test_a_second_signal_ends_us(tmp_path: Path) -> None:
    driver = Fleet(tmp_path, 1, good).driver()
    driver.interrupt()
    with pytest.raises(KeyboardInterrupt):
        driver.interrupt()


def test_a_defect_while_staging_ends_the_rollout(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 3, lambda action: GOOD.get(action.kind, EventKind.STAGED))

    def stage(_names: Sequence[str]) -> Mapping[str, Event]:
        raise RuntimeError("input(): lost sys.stdin")

    driver = Driver(cast("dict[str, HostWork]", fleet.works), stage, fleet.journal)
    ended = driver.run(new_rollout(plan_waves(fleet.names, None, 1), Rules(0)), None)
    assert {member.phase for member in ended.members.values()} == {HostPhase.FAILED}
    assert "lost sys.stdin" in ended.members["h00"].reason


def test_a_build_that_somebody_else_confirmed_is_no_success_and_no_hang(tmp_path: Path) -> None:
    """The host answers to `return` that it runs the build, and not on trial."""
    kinds = {
        ActionKind.STAGE: EventKind.STAGED,
        ActionKind.ACTIVATE: EventKind.ACTIVATED,
        ActionKind.GATE: EventKind.GATE_FAILED,
    }
    fleet = Fleet(tmp_path, 1, lambda action: kinds.get(action.kind, EventKind.CONFIRMED))
    ended = fleet.run(1)
    assert ended.members["h00"].phase is HostPhase.FAILED
    assert "another operator has confirmed" in ended.members["h00"].reason


def test_a_gate_that_a_return_cut_off_does_not_speak_for_the_host(tmp_path: Path) -> None:
    """The link was dropped: the host is silent, the return closes the gate's line, and takes its time."""
    returning, said = threading.Event(), threading.Event()

    def answer(action: Action) -> EventKind:
        if action.kind is ActionKind.GATE:
            driver.events.put(Event(EventKind.SILENT, action.host, "no heartbeat for 30 s"))
            assert returning.wait(10)
            threading.Timer(0.3, said.set).start()
            return EventKind.LOST
        if action.kind is ActionKind.RETURN:
            returning.set()
            assert said.wait(10)
        return GOOD.get(action.kind, EventKind.STAGED)

    fleet = Fleet(tmp_path, 1, answer)
    driver = fleet.driver()
    ended = driver.run(new_rollout(plan_waves(fleet.names, None, 1), Rules(0)), None)
    assert ended.members["h00"].phase is HostPhase.RETURNED
