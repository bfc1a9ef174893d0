"""An upgrade from beginning to end: how often it connects and loads, whom it waits for, what it leaves."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import click
import pytest
from click.testing import CliRunner

from strixfleet.commands.rollback import rollback
from strixfleet.commands.upgrade import upgrade as upgrade_command
from strixfleet.errors import FleetError, LockHeld, Unreachable, UsageError
from strixfleet.findings.items import Cost, Cure, Difference, Status
from strixfleet.findings.results import Report
from strixfleet.fleet.options import Options
from strixfleet.fleet.session import ProbedHost
from strixfleet.hosts.connections import Connections
from strixfleet.hosts.host_program import HostAnswer
from strixfleet.hosts.remote import Remote
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.inventory.schema.pin import KEY
from strixfleet.inventory.schema.settings import LLAMA_CPP_REPOSITORY
from strixfleet.managed.llama_cpp.build import plain_address
from strixfleet.on_host.questions import Json
from strixfleet.rollout import journal, upgrade
from strixfleet.rollout.journal import Journal
from strixfleet.rollout.refuse_busy import on_trial
from strixfleet.rollout.rollout_state import new_rollout
from strixfleet.rollout.survey import PinnedFleet, RolloutSurvey, SurveyedHost, refuse_bad_pin
from strixfleet.rollout.upgrade import UpgradeRequest, plan_rollout, run_upgrade, survey_without_trials
from strixfleet.tools import git
from tests.fixtures.rollout_hosts import CountingSite, answer, surveyed, surveyed_fleet


def outcomes(report: Report) -> dict[str, Any]:
    return {row.name: row.extra["outcome"] for row in report.hosts}


def test_an_upgrade_opens_three_connections_to_a_host(counting_site: CountingSite) -> None:
    """One for all its work, one that downtime is counted over, and one that proves that logins work."""
    report = run_upgrade(Options(extra_vars=(f"{KEY}=b2",)), UpgradeRequest(yes=True, soak_s=0))
    assert outcomes(report) == {"h1": "upgraded", "h2": "upgraded"}
    assert {name: sorted(first_words) for name, first_words in counting_site.opened.items()} == {
        "h1": ["confirm", "downtime", "look"],
        "h2": ["confirm", "downtime", "look"],
    }
    assert len(counting_site.loads) == 1


def test_with_a_new_pin_the_inventory_is_loaded_twice(counting_site: CountingSite) -> None:
    """As it is, for the line of the pin, and with the new pin."""
    report = run_upgrade(Options(), UpgradeRequest(to="b2", yes=True, soak_s=0))
    assert outcomes(report) == {"h1": "upgraded", "h2": "upgraded"}
    assert len(counting_site.loads) == 2
    assert [bool(request.extra_vars) for request in counting_site.loads] == [False, True]
    assert counting_site.inventory.read_text() == f"{KEY}: b2\n"


def test_check_mode_shows_the_pin_with_diff_and_changes_nothing(
    counting_site: CountingSite, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run_upgrade(Options(), UpgradeRequest(to="b2", check=True, diff=True))
    assert report.exit_code == 1
    assert f"+{KEY}: b2" in capsys.readouterr().err
    assert counting_site.inventory.read_text() == f"{KEY}: b1\n"
    assert counting_site.opened == {"h1": ["look"], "h2": ["look"]}


def test_the_pin_cannot_be_given_twice(counting_site: CountingSite) -> None:
    with pytest.raises(UsageError, match="both set the pin"):
        run_upgrade(Options(extra_vars=(f"{KEY}=b3",)), UpgradeRequest(to="b2"))
    assert counting_site.loads == []


def test_a_host_that_is_lost_leaves_the_pin_as_it_is(
    counting_site: CountingSite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = counting_site.look

    def look(one: Host, remote: Remote) -> ProbedHost:
        if one.name == "h2":
            raise Unreachable("timed out", where="h2")
        return usual(one, remote)

    monkeypatch.setattr("strixfleet.rollout.survey.look", look)
    report = run_upgrade(Options(), UpgradeRequest(to="b2", yes=True, soak_s=0, max_failures=1))
    assert outcomes(report) == {"h1": "upgraded", "h2": "unreachable"}
    assert counting_site.inventory.read_text() == f"{KEY}: b1\n"
    assert "inventory not updated: it still pins the previous build" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "flag"), [(rollback, "-D"), (rollback, "--diff"), (upgrade_command, "--dry-run")]
)
def test_flags_that_did_nothing_are_refused(command: click.Command, flag: str) -> None:
    result = CliRunner().invoke(command, [flag])
    assert result.exit_code == 2
    assert "No such option" in result.output


def serving_nothing(one: SurveyedHost) -> SurveyedHost:
    settings = one.host.settings.model_copy(update={"llama_server_instances": ()})
    return replace(one, host=replace(one.host, settings=settings))


def test_a_canary_that_serves_nothing_is_refused_when_named_and_never_chosen() -> None:
    found = surveyed_fleet(serving_nothing(surveyed("h1")), surveyed("h2"), surveyed("h3"))
    with pytest.raises(UsageError, match="the canary h1 has no llama_server_instances") as caught:
        plan_rollout(found, UpgradeRequest(canary="h1", batch="1"))
    assert "--canary h2" in caught.value.hint
    assert plan_rollout(found, UpgradeRequest(batch="1")).waves == (("h2",), ("h1",), ("h3",))
    assert plan_rollout(found, UpgradeRequest(canary="h3", batch="2")).waves == (("h3",), ("h1", "h2"))


def test_where_nobody_serves_it_is_said_that_the_gate_proves_little(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = surveyed_fleet(serving_nothing(surveyed("h1")))
    assert plan_rollout(found, UpgradeRequest(batch="1")).waves == (("h1",),)
    assert "no selected host has llama_server_instances" in capsys.readouterr().err


def test_an_instance_that_was_never_provisioned_is_refused_before_anything(
    counting_site: CountingSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = counting_site.look

    def look(one: Host, remote: Remote) -> ProbedHost:
        seen = usual(one, remote)
        path = "llama_server:/etc/systemd/system/llama-server@chat.service.d/10-strixfleet.conf"
        row = Difference(path, Status.DRIFT, {}, None, Cure.PROVISION, Cost.RESTART)
        return replace(seen, differences=(row,)) if one.name == "h2" else seen

    monkeypatch.setattr("strixfleet.rollout.survey.look", look)
    with pytest.raises(UsageError, match="instance chat was never provisioned here") as caught:
        run_upgrade(Options(extra_vars=(f"{KEY}=b2",)), UpgradeRequest(yes=True, soak_s=0))
    assert "strixfleet provision -l h2" in caught.value.hint
    assert counting_site.opened == {"h1": ["look"], "h2": ["look"]}


Surveys = Callable[..., list[float]]
NOBODY = PinnedFleet(surveyed_fleet().fleet, Options())


@pytest.fixture
def surveys(monkeypatch: pytest.MonkeyPatch) -> Surveys:
    """Let each survey find the next answer of one host; return the seconds that were slept."""

    def given(*answers: HostAnswer, interrupted: object = None) -> list[float]:
        rows, slept = iter(answers), list[float]()

        def survey(_pinned: PinnedFleet, _connections: Connections) -> SimpleNamespace:
            return SimpleNamespace(programs={"h1": next(rows)}, about={})

        monkeypatch.setattr(upgrade, "survey", survey)
        monkeypatch.setattr(upgrade, "find_unfinished", lambda _about: interrupted)
        monkeypatch.setattr(time, "sleep", slept.append)
        return slept

    return given


def survey_now() -> tuple[RolloutSurvey, Journal | None]:
    return survey_without_trials(NOBODY, UpgradeRequest(), Connections.checked_by("/known"))


def test_an_upgrade_waits_until_an_unconfirmed_build_has_reverted(
    surveys: Surveys, capsys: pytest.CaptureFixture[str]
) -> None:
    slept = surveys(answer("b2", {"to": "b2", "left_s": 31.0}), answer())
    found, _interrupted = survey_now()
    assert not on_trial(found.programs)
    assert len(slept) == 1
    assert slept[0] > 31.0
    said = "h1 still runs an unconfirmed build from an interrupted rollout; waiting 31 s for it to revert"
    assert said in capsys.readouterr().err


def test_a_rollout_that_is_resumed_does_not_wait(surveys: Surveys) -> None:
    journal_of_it = object()
    slept = surveys(answer("b2", {"to": "b2", "left_s": 40.0}), interrupted=journal_of_it)
    found, interrupted = survey_now()
    assert on_trial(found.programs)
    assert interrupted is journal_of_it
    assert slept == []


def test_a_trial_of_a_living_operator_is_refused(surveys: Surveys) -> None:
    surveys(answer("b2", {"to": "b2", "left_s": 40.0}, lock="ann@elsewhere (0a1b2c3d) pid 1"))
    with pytest.raises(LockHeld):
        survey_now()


def test_a_host_that_could_not_be_locked_is_not_switched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would renew its lease, so a good build would revert and be remembered as bad."""
    unreachable = Unreachable("timed out", where="h2")
    staged: list[Mapping[str, object]] = []

    class Lock:
        tokens: ClassVar[dict[str, int]] = {"h1": 1}

        def __init__(self, *_given: object, **_more: object) -> None: ...

        def take(self, _hosts: object) -> dict[str, FleetError]:
            return {"h2": unreachable}

        def start(self) -> None: ...

        def release(self) -> None: ...

    def stage(found: RolloutSurvey, *_given: object, **_more: object) -> None:
        staged.append(found.hosts)

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(upgrade, "FleetLock", Lock)
    monkeypatch.setattr(upgrade, "Stage", stage)
    monkeypatch.setattr(
        upgrade, "Driver", lambda *_given: SimpleNamespace(run=lambda state, _reported: state)
    )
    found = surveyed_fleet(surveyed("h1"), surveyed("h2"))
    with Connections.checked_by("/known") as connections:
        upgrade.roll_out(found, UpgradeRequest(), new_rollout([["h1"], ["h2"]]), None, connections)
    assert staged == [{"h1": found.hosts["h1"], "h2": unreachable}]
    assert list(journal.journal_folder().iterdir()) == []


BAD = Difference(
    "llama_cpp:defect.rocm-host-buffers",
    Status.DRIFT,
    "b10865",
    {"pinned": "b2"},
    Cure.MANUAL,
    Cost.NONE,
    "b2 answers nonsense; pin b10865",
)


@pytest.mark.parametrize(
    ("current", "status", "have", "refused"),
    [
        ("b1", Status.DRIFT, {"pinned": "b2"}, True),
        ("b1", Status.WAIVED, {"pinned": "b2"}, False),
        ("b1", Status.DRIFT, {"current": "b1"}, False),
        ("want", Status.DRIFT, {"pinned": "b2", "current": "b2"}, False),
    ],
    ids=["refused", "waived", "only what runs is bad", "it runs already"],
)
def test_a_pin_that_is_known_to_be_bad_is_not_rolled_out(
    current: str, status: Status, have: dict[str, Json], *, refused: bool
) -> None:
    one = surveyed("h1", current)
    seen = replace(one.seen, differences=(replace(BAD, status=status, have=have),))
    found = surveyed_fleet(replace(one, seen=seen))
    if not refused:
        return refuse_bad_pin(found)
    with pytest.raises(UsageError, match="h1: b2 answers nonsense; pin b10865"):
        refuse_bad_pin(found)
    return None


def test_a_tag_that_moved_since_the_lock_was_written_is_not_rolled_out(
    counting_site: CountingSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = {plain_address(LLAMA_CPP_REPOSITORY): {"b2": {"commit": "a" * 40, "since": "2026-11-01"}}}
    (tmp_path / "pins.json").write_text(json.dumps(text))
    monkeypatch.setattr(upgrade, "lock_file", lambda _fleet: tmp_path / "pins.json")
    monkeypatch.setattr(git, "named_at", lambda *_given: git.Named("b" * 40, None))
    with pytest.raises(UsageError, match=r"tag b2 has moved: it named a{40} on .*, now it names b{40}"):
        run_upgrade(Options(), UpgradeRequest(to="b2", yes=True, soak_s=0))
    assert not any("activate" in words for words in counting_site.opened.values())
