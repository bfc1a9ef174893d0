"""What a reboot breaks is mended in the same run, once."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from strixfleet.commands import provision
from strixfleet.commands.provision import Consent
from strixfleet.fleet import session
from strixfleet.fleet.options import Options
from strixfleet.fleet.session import ProbedHost
from strixfleet.inventory.schema.fleet_model import Fleet
from strixfleet.rollout.sole_operator import Alone
from strixfleet.tools.ansible_playbook import HostOutcome, PlayStatus
from tests.cases.aspect_cases import ASPECT_CASES, load_case


def seen(case: str, boot: str) -> ProbedHost:
    loaded = load_case(ASPECT_CASES / f"{case}.yml")
    state = loaded.state
    booted = replace(state, facts=replace(state.facts, boot_id=boot))
    return ProbedHost(booted, loaded.answers, state.differences(loaded.answers), 0.1)


Provisioned = Callable[..., tuple[list[list[str]], int]]


@pytest.fixture
def provisioned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Provisioned:
    """Run provision where a host looks one way after the other; give the hosts of each play, and the code."""
    plays: list[list[str]] = []

    def run(*looks: ProbedHost, status: PlayStatus = PlayStatus.CHANGED) -> tuple[list[list[str]], int]:
        host = looks[0].state.host
        fleet = Fleet((host,), (str(tmp_path),), str(tmp_path / "known_hosts"))
        left: Iterator[ProbedHost] = iter(looks)

        def play(
            _fleet: Fleet, chosen: dict[str, ProbedHost], *_: object, **_more: object
        ) -> dict[str, HostOutcome]:
            plays.append([*chosen])
            return {name: HostOutcome(status, ("a task",), "a task", "failed") for name in chosen}

        monkeypatch.setattr(provision, "load_fleet", lambda _options: fleet)
        monkeypatch.setattr(provision, "look_at_all", lambda *_: {host.name: next(left)})
        monkeypatch.setattr(provision, "_play", play)
        monkeypatch.setattr(provision, "_alone", lambda *_: nullcontext(Alone({}, None)))
        monkeypatch.setattr(provision, "smoke_reports", lambda *_args, **_more: {})
        monkeypatch.setattr(session, "remember", lambda _report: None)
        consent = Consent(yes=True, check=False, diff=False, reboot="auto")
        report = provision.run_provision(Options(), consent)
        return plays, int(report.exit_code)

    return run


def test_what_the_reboot_broke_is_mended_in_the_same_run(provisioned: Provisioned) -> None:
    plays, code = provisioned(
        seen("kernel/drifted", "first boot"),
        seen("tuning/not_installed", "second boot"),
        seen("kernel/in_sync", "second boot"),
    )
    assert plays == [["case"], ["case"]]
    assert code == 0


def test_it_is_tried_once_only(provisioned: Provisioned) -> None:
    broken = seen("tuning/not_installed", "second boot")
    plays, code = provisioned(seen("kernel/drifted", "first boot"), broken, broken)
    assert plays == [["case"], ["case"]]
    assert code == 1


def test_without_a_reboot_nothing_is_played_again(provisioned: Provisioned) -> None:
    broken = seen("tuning/not_installed", "first boot")
    assert provisioned(seen("kernel/drifted", "first boot"), broken)[0] == [["case"]]


def test_a_play_that_failed_is_not_played_again(provisioned: Provisioned) -> None:
    broken = seen("tuning/not_installed", "second boot")
    first = seen("kernel/drifted", "first boot")
    plays, code = provisioned(first, broken, status=PlayStatus.FAILED)
    assert (plays, code) == ([["case"]], 4)
