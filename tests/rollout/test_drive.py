"""The driver with hosts that are functions: twenty of them, threads and journal are real."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from strixfleet.adapters.journal import Journal, begin, find_unfinished
from strixfleet.commands.rollout_drive import Driver
from strixfleet.commands.rollout_host import HostWork
from strixfleet.core.questions import Json
from strixfleet.core.rollout import Sight
from strixfleet.core.rollout_state import Action, Do, Event, Kind, Rollout, Rules, Standing, new_rollout
from strixfleet.core.waves import plan_waves


GOOD = {
    Do.ACTIVATE: Kind.ACTIVATED,
    Do.GATE: Kind.GATE_PASSED,
    Do.CONFIRM: Kind.CONFIRMED,
    Do.RETURN: Kind.RETURNED,
    Do.DISCARD: Kind.STAGED,
}
Answer = Callable[[Action], Kind]
ABOUT: dict[str, Json] = {"inventory": ["/i"], "refs": ["b2"], "want": {}}


class Work:
    """A host that does as it is told, and remembers what it was asked."""

    def __init__(self, name: str, answer: Answer) -> None:
        self.name = name
        self.answer = answer
        self.asked: list[Do] = []

    def do(self, action: Action) -> Event:
        self.asked.append(action.do)
        return Event(self.answer(action), self.name, "why")


class Fleet:
    """Hosts, and a rollout over them."""

    def __init__(self, folder: Path, count: int, answer: Answer) -> None:
        self.names = [f"h{number:02}" for number in range(count)]
        self.works = {name: Work(name, answer) for name in self.names}
        self.answer = answer
        self.journal: Journal = begin(ABOUT, folder)

    def stage(self, names: Sequence[str]) -> Mapping[str, Event]:
        return {name: Event(self.answer(Action(Do.STAGE, name)), name) for name in names}

    def driver(self) -> Driver:
        return Driver(cast("dict[str, HostWork]", self.works), self.stage, self.journal)

    def run(self, batch: int | str, allowed: int = 0) -> Rollout:
        return self.driver().run(new_rollout(plan_waves(self.names, None, batch), Rules(allowed)), None)


def good(action: Action) -> Kind:
    return GOOD.get(action.do, Kind.STAGED)


@pytest.mark.parametrize(
    "phase", [(Do.GATE, Kind.GATE_FAILED), (Do.GATE, Kind.LOST), (Do.CONFIRM, Kind.LOST)]
)
def test_each_of_twenty_hosts_fails_once(tmp_path: Path, phase: tuple[Do, Kind]) -> None:
    for position in range(20):
        victim = f"h{position:02}"

        def answer(action: Action, victim: str = victim) -> Kind:
            return phase[1] if (action.do, action.host) == (phase[0], victim) else good(action)

        fleet = Fleet(tmp_path / victim, 20, answer)
        waves = plan_waves(fleet.names, None, "25%")
        ended = fleet.run("25%")
        assert ended.finished
        assert ended.members[victim].standing is Standing.RETURNED
        wave = next(number for number, names in enumerate(waves) if victim in names)
        later = [name for names in waves[wave + 1 :] for name in names]
        assert all(Do.ACTIVATE not in fleet.works[name].asked for name in later)
        assert all(fleet.works[name].asked == [Do.DISCARD] for name in later)
        assert all(
            ended.members[name].standing is Standing.UPGRADED for names in waves[:wave] for name in names
        )
        assert "halted: " in fleet.journal.path.with_suffix(".log").read_text()


def test_a_defect_in_one_hosts_work_returns_that_host(tmp_path: Path) -> None:
    def answer(action: Action) -> Kind:
        if (action.do, action.host) == (Do.GATE, "h01"):
            raise RuntimeError("no such thing")
        return good(action)

    ended = Fleet(tmp_path, 3, answer).run(1)
    assert ended.members["h01"].standing is Standing.RETURNED
    assert "a defect in strixfleet: RuntimeError: no such thing" in ended.members["h01"].reason
    assert ended.members["h02"].standing is Standing.SKIPPED


def test_a_cut_rollout_is_taken_up_from_its_journal(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 4, good)

    class CutError(Exception):
        pass

    class Dying(Driver):
        def _record(self, event: Event, state: Rollout) -> None:
            super()._record(event, state)
            if (event.kind, event.host) == (Kind.GATE_PASSED, "h01"):
                raise CutError

    works = cast("dict[str, HostWork]", fleet.works)
    with pytest.raises(CutError):
        Dying(works, fleet.stage, fleet.journal).run(new_rollout(plan_waves(fleet.names, None, 1)), None)
    found = find_unfinished(ABOUT, tmp_path)
    assert found is not None
    assert found.state is not None
    sights: dict[str, Sight | None] = {name: Sight("old", None, "new") for name in fleet.names}
    sights |= {"h00": Sight("new", None, "new"), "h01": Sight("new", "new", "new")}
    for work in fleet.works.values():
        work.asked.clear()
    ended = Driver(works, fleet.stage, found).run(found.state, sights)
    assert {member.standing for member in ended.members.values()} == {Standing.UPGRADED}
    assert fleet.works["h00"].asked == []
    assert fleet.works["h01"].asked == [Do.GATE, Do.CONFIRM]


def test_an_interruption_returns_and_a_second_one_ends(tmp_path: Path) -> None:
    driver: list[Any] = []

    def answer(action: Action) -> Kind:
        if (action.do, action.host) == (Do.GATE, "h01"):
            driver[0].events.put(Event(Kind.STOP, reason="stopped by the operator"))
        return good(action)

    fleet = Fleet(tmp_path, 3, answer)
    driver.append(fleet.driver())
    ended = driver[0].run(new_rollout(plan_waves(fleet.names, None, 1)), None)
    assert ended.halted == "stopped by the operator"
    assert ended.members["h00"].standing is Standing.UPGRADED
    assert ended.members["h01"].standing in {Standing.RETURNED, Standing.UPGRADED}
    assert ended.members["h02"].standing is Standing.SKIPPED


def test_a_defect_while_staging_ends_the_rollout(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 3, lambda action: GOOD.get(action.do, Kind.STAGED))

    def stage(_names: Sequence[str]) -> Mapping[str, Event]:
        raise RuntimeError("input(): lost sys.stdin")

    driver = Driver(cast("dict[str, HostWork]", fleet.works), stage, fleet.journal)
    ended = driver.run(new_rollout(plan_waves(fleet.names, None, 1), Rules(0)), None)
    assert {member.standing for member in ended.members.values()} == {Standing.FAILED}
    assert "lost sys.stdin" in ended.members["h00"].reason


def test_a_build_that_somebody_else_confirmed_is_no_success_and_no_hang(tmp_path: Path) -> None:
    """The host answers to `return` that it runs the build, and not on trial."""
    kinds = {Do.STAGE: Kind.STAGED, Do.ACTIVATE: Kind.ACTIVATED, Do.GATE: Kind.GATE_FAILED}
    fleet = Fleet(tmp_path, 1, lambda action: kinds.get(action.do, Kind.CONFIRMED))
    ended = fleet.run(1)
    assert ended.members["h00"].standing is Standing.FAILED
    assert "somebody else has confirmed it" in ended.members["h00"].reason


def test_a_gate_that_a_return_cut_off_does_not_speak_for_the_host(tmp_path: Path) -> None:
    """The link was dropped: the host is silent, the return closes the gate's line, and takes its time."""
    returning, said = threading.Event(), threading.Event()

    def answer(action: Action) -> Kind:
        if action.do is Do.GATE:
            driver.events.put(Event(Kind.SILENT, action.host, "not heard of"))
            assert returning.wait(10)
            threading.Timer(0.3, said.set).start()
            return Kind.LOST
        if action.do is Do.RETURN:
            returning.set()
            assert said.wait(10)
        return GOOD.get(action.do, Kind.STAGED)

    fleet = Fleet(tmp_path, 1, answer)
    driver = fleet.driver()
    ended = driver.run(new_rollout(plan_waves(fleet.names, None, 1), Rules(0)), None)
    assert ended.members["h00"].standing is Standing.RETURNED
