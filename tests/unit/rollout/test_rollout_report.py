"""What a rollout says of hosts that were not begun, were not reached, or were lost on the way."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from strixfleet.commands import rollback
from strixfleet.errors import ChangeFailed, FleetError, Unreachable
from strixfleet.fleet.session import ProbedHost
from strixfleet.inventory.schema.fleet_model import Connection, Fleet, Host
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.on_host.questions import Json
from strixfleet.rollout.rollout_report import dry_run_report, report_of
from strixfleet.rollout.rollout_state import HostPhase, Rollout, new_rollout


AWAY = Unreachable("unreachable at 192.0.2.1:22", where="h2")


@dataclass
class RolloutSurvey:
    """Two hosts of which none answered."""

    seen: Mapping[str, ProbedHost | FleetError] = field(default_factory=lambda: {"h1": AWAY, "h2": AWAY})
    wants: Mapping[str, Json] = field(default_factory=dict)


@pytest.fixture(autouse=True)
def _own_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def rollout(**standings: tuple[HostPhase, str]) -> Rollout:
    state = new_rollout([["h1"], ["h2"]])
    members = {
        name: replace(state.members[name], standing=standing, reason=reason)
        for name, (standing, reason) in standings.items()
    }
    return replace(state, members={**state.members, **members})


def codes(state: Rollout) -> list[int]:
    return [
        int(row.exit_code) for row in report_of(state, RolloutSurvey(), {}, None, datetime.now(UTC)).hosts
    ]


def test_who_was_never_reached_is_no_failed_change_unless_it_stopped_the_rest() -> None:
    away = (HostPhase.UNREACHABLE, AWAY.message)
    state = rollout(h1=(HostPhase.UPGRADED, ""), h2=away)
    assert codes(state) == [0, 3]
    lost = rollout(h1=(HostPhase.UPGRADED, ""), h2=(HostPhase.UNREACHABLE, "not heard of for 30 s"))
    assert codes(lost)[1] == 4


def test_a_rollout_that_stopped_is_never_as_desired() -> None:
    state = rollout(h1=(HostPhase.UPGRADED, ""), h2=(HostPhase.SKIPPED, "halted: the fleet lock was lost"))
    there = cast("ProbedHost", object())  # nothing is read of it but that it answered
    scene = RolloutSurvey(seen={"h1": there, "h2": there})
    stopped = replace(state, halted="the fleet lock was lost")
    assert report_of(stopped, scene, {}, None, datetime.now(UTC)).exit_code == 4
    assert report_of(state, scene, {}, None, datetime.now(UTC)).exit_code == 0


def test_check_mode_does_not_take_silence_for_health() -> None:
    assert dry_run_report(rollout(), RolloutSurvey(), {}, datetime.now(UTC)).exit_code == 3


def test_a_host_that_is_lost_while_it_goes_back_is_a_failed_change(monkeypatch: pytest.MonkeyPatch) -> None:
    class Program:
        """Answers once, then never again."""

        def __init__(self, *_words: object) -> None:
            self.current = "b1"

        def call(self, *_words: object) -> "Program":
            return self

        def must(self, *_words: object, **_more: object) -> "Program":
            raise AWAY

    monkeypatch.setattr(rollback, "HostProgram", Program)
    host = Host("h2", Connection(address="192.0.2.1"), HostSettings())
    fleet = Fleet((host,), (), "/nowhere")
    with pytest.raises(ChangeFailed, match="lost on the way"):
        rollback.roll_back(host, fleet, None, retry=False, check=False)
