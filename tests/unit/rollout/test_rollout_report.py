"""The report of a rollout: hosts that were not begun, were not reached, or were lost on the way."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strixfleet.errors import Unreachable
from strixfleet.findings.results import HostReport
from strixfleet.rollout.host_notes import HostNotes, RenamedOption
from strixfleet.rollout.rollout_report import report_of, report_of_check, show_waves
from strixfleet.rollout.rollout_state import HostPhase, HostProgress, Rollout, new_rollout
from tests.fixtures.rollout_hosts import surveyed, surveyed_fleet


AWAY = Unreachable("unreachable at 192.0.2.1:22", where="h2")
SILENT = surveyed_fleet(h1=AWAY, h2=AWAY)
ANSWERED = surveyed_fleet(surveyed("h1"), surveyed("h2"))


@pytest.fixture(autouse=True)
def _own_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def rollout(*members: HostProgress) -> Rollout:
    state = new_rollout([["h1"], ["h2"]])
    return replace(state, members={**state.members, **{member.name: member for member in members}})


def row(member: HostProgress, notes: HostNotes) -> HostReport:
    return report_of(rollout(member), ANSWERED, {member.name: notes}, datetime.now(UTC)).hosts[0]


def codes(state: Rollout) -> list[int]:
    return [int(row.exit_code) for row in report_of(state, SILENT, {}, datetime.now(UTC)).hosts]


def test_a_host_that_was_never_reached_is_no_failed_change() -> None:
    upgraded = HostProgress("h1", HostPhase.UPGRADED)
    away = HostProgress("h2", HostPhase.UNREACHABLE, AWAY.message)
    assert codes(rollout(upgraded, away)) == [0, 3]
    lost = replace(away, activated=True)
    assert codes(rollout(upgraded, lost)) == [0, 4]


def test_a_rollout_that_halted_is_never_as_desired() -> None:
    upgraded = HostProgress("h1", HostPhase.UPGRADED)
    state = rollout(upgraded, HostProgress("h2", HostPhase.SKIPPED, "halted: the fleet lock was lost"))
    halted = replace(state, halted="the fleet lock was lost")
    assert report_of(halted, ANSWERED, {}, datetime.now(UTC)).exit_code == 4
    assert report_of(state, ANSWERED, {}, datetime.now(UTC)).exit_code == 0


def test_check_mode_reports_hosts_that_are_silent_or_do_not_run_their_pin() -> None:
    assert report_of_check(rollout(), SILENT, datetime.now(UTC)).exit_code == 3
    assert report_of_check(rollout(), ANSWERED, datetime.now(UTC)).exit_code == 1
    current = surveyed_fleet(surveyed("h1", "want"), surveyed("h2", "want"))
    assert report_of_check(rollout(), current, datetime.now(UTC)).exit_code == 0


def test_from_is_the_build_that_ran_before_though_the_rollout_was_resumed() -> None:
    """The survey of a resumed rollout finds the new build on a host that is on trial."""
    fresh = row(HostProgress("h1", HostPhase.SKIPPED), HostNotes())
    assert fresh.extra["from"] == "b1"
    first = row(HostProgress("h1", HostPhase.UPGRADED, activated=True), HostNotes(downtime_s=1.5))
    assert first.extra["from"] is None
    assert str(first.extra["notes"]).startswith("['upgraded: nothing → b2-cpu-")
    resumed = row(HostProgress("h1", HostPhase.UPGRADED, activated=True), HostNotes("b0"))
    assert resumed.extra["from"] == "b0"


def test_the_report_says_what_to_write_for_renamed_options() -> None:
    notes = HostNotes("b1", renamed=(RenamedOption("chat", "--no-mmap", "--load-mode none"),))
    upgraded = row(HostProgress("h1", HostPhase.UPGRADED, activated=True), notes)
    assert upgraded.extra["notes"] == [
        f"upgraded: b1 → {upgraded.extra['to']}",
        (
            "chat: the inventory still says `no-mmap: null`, which keeps working; "
            "for this build you can write `load-mode: none`"
        ),
    ]
    returned = row(HostProgress("h1", HostPhase.RETURNED, "slow", activated=True), notes)
    assert returned.extra["notes"] == ["returned: runs b1 again"]


def test_a_first_deployment_that_was_returned_serves_nothing() -> None:
    returned = row(
        HostProgress("h1", HostPhase.RETURNED, "slow", activated=True), HostNotes(serves_nothing=True)
    )
    assert returned.extra["notes"] == ["returned: not serving: there was no previous build"]


def test_waves_show_what_each_host_would_run(capsys: pytest.CaptureFixture[str]) -> None:
    current = surveyed("h2", "want")
    show_waves(rollout(), surveyed_fleet(surveyed("h1", None), current))
    want = current.want.id
    assert capsys.readouterr().err.splitlines() == [
        "wave 0: canary",
        f"  h1: nothing → {want}",
        "wave 1",
        f"  h2: runs {want} already",
    ]
