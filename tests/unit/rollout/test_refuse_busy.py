"""Hosts that another rollout has its hand on: nothing calls them done, and nobody changes them."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from strixfleet.commands import upgrade as upgrade_verb
from strixfleet.errors import FleetError, LockHeld, Unreachable
from strixfleet.fleet.options import Options
from strixfleet.hosts.host_program import HostAnswer
from strixfleet.on_host.questions import Json
from strixfleet.rollout import fleet_lock, journal
from strixfleet.rollout.refuse_busy import on_trial, refuse_busy, refuse_locked
from strixfleet.rollout.rollout_state import new_rollout
from strixfleet.rollout.survey import UpgradeOptions


def answer(*, lock: str = "", left_s: float | None = None) -> HostAnswer:
    pending: dict[str, Json] = {} if left_s is None else {"to": "b2", "left_s": left_s}
    held = {"owner": lock, "since": "2026-11-26T01:00:00Z"} if lock else {}
    return HostAnswer(False, "", "b2", "b1", ("b1", "b2"), pending, (), held, None)


def test_a_living_operator_keeps_others_out_and_a_dead_one_does_not() -> None:
    refuse_busy({"h1": answer()})
    with pytest.raises(LockHeld, match="h1: locked by ann"):
        refuse_busy({"h1": answer(lock="ann@elsewhere (0a1b2c3d) pid 1")})
    dead = fleet_lock.owner().rpartition(" ")[0] + " 4194305"  # above the largest pid
    refuse_locked({"h1": answer(lock=dead)})


def test_a_host_on_trial_is_not_changed_and_says_when_it_goes_back() -> None:
    with pytest.raises(LockHeld, match=r"h2: runs a build on trial.*in 31 s"):
        refuse_busy({"h1": answer(), "h2": answer(left_s=31.0)})


@pytest.fixture
def surveys(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[float]]:
    """Let each survey find the next answer of one host; give the seconds that were slept."""

    def given(*answers: HostAnswer, unfinished: object = None) -> list[float]:
        rows, slept = iter(answers), list[float]()

        def survey(_options: Options, _wish: UpgradeOptions) -> SimpleNamespace:
            return SimpleNamespace(programs={"h1": next(rows)}, about={})

        monkeypatch.setattr(upgrade_verb, "survey", survey)
        monkeypatch.setattr(journal, "find_unfinished", lambda _about: unfinished)
        monkeypatch.setattr(time, "sleep", slept.append)
        return slept

    return given


def test_an_upgrade_waits_until_a_cut_trial_is_over(surveys: Callable[..., list[float]]) -> None:
    slept = surveys(answer(left_s=40.0), answer())
    scene = upgrade_verb.survey_in_peace(Options(), UpgradeOptions())
    assert not on_trial(scene.programs)
    assert len(slept) == 1
    assert slept[0] > 40.0


def test_the_rollout_that_goes_on_does_not_wait(surveys: Callable[..., list[float]]) -> None:
    slept = surveys(answer(left_s=40.0), unfinished=object())
    assert on_trial(upgrade_verb.survey_in_peace(Options(), UpgradeOptions()).programs)
    assert slept == []


def test_a_trial_of_a_living_operator_is_refused(surveys: Callable[..., list[float]]) -> None:
    surveys(answer(left_s=40.0, lock="ann@elsewhere (0a1b2c3d) pid 1"))
    with pytest.raises(LockHeld):
        upgrade_verb.survey_in_peace(Options(), UpgradeOptions())


def test_a_host_that_could_not_be_locked_is_not_switched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would renew its lease, so a good build would go back and be remembered as bad."""
    unreachable = Unreachable("timed out", where="h2")
    staged: list[Mapping[str, object]] = []

    class Lock:
        tokens: ClassVar[dict[str, int]] = {"h1": 1}

        def __init__(self, *_given: object) -> None: ...

        def take(self, _hosts: object) -> dict[str, FleetError]:
            return {"h2": unreachable}

        def start(self) -> None: ...

        def release(self) -> None: ...

    def stage(_fleet: object, seen: Mapping[str, object], *_given: object) -> None:
        staged.append(seen)

    for name, stand_in in {
        "FleetLock": Lock,
        "Stage": stage,
        "Driver": lambda *_given: SimpleNamespace(run=lambda state, _sights: state),
        "HostWork": lambda *_given: SimpleNamespace(close=lambda: None),
        "wanted_build": lambda _seen: SimpleNamespace(id="b2"),
        "agreed": lambda *_given: 60,
    }.items():
        monkeypatch.setattr(upgrade_verb, name, stand_in)
    monkeypatch.setattr(journal, "find_unfinished", lambda _about: None)
    monkeypatch.setattr(journal, "begin", lambda _about: SimpleNamespace(note=None, path=Path("x")))
    hosts = [SimpleNamespace(name=name) for name in ("h1", "h2")]
    fleet = SimpleNamespace(hosts=hosts, known_hosts="k", host=lambda _name: None)
    seen = {"h1": "seen", "h2": "seen"}
    scene = SimpleNamespace(
        fleet=fleet, seen=seen, good=seen, about={}, options=Options(), programs={}, wants={}
    )
    upgrade_verb.drive(cast("Any", scene), UpgradeOptions(), new_rollout([["h1"], ["h2"]]))
    assert staged == [{"h1": "seen", "h2": unreachable}]
