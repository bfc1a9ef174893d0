"""A rollback on one host: what it reports, and what it says when the host is lost."""

from typing import Any, cast

import pytest

from strixfleet.errors import ChangeFailed, Unreachable
from strixfleet.hosts.connections import Connections
from strixfleet.hosts.host_program import HostAnswer, HostProgram
from strixfleet.inventory.schema.fleet_model import Fleet
from strixfleet.rollout.roll_back import preview, roll_back
from tests.fixtures.rollout_hosts import answer, host


HOST = host("h2")
FLEET = Fleet((HOST,), (), "/known")


def program(monkeypatch: pytest.MonkeyPatch, *, lost: bool) -> list[str]:
    asked: list[str] = []

    def call(_program: HostProgram, *words: str, **_more: object) -> HostAnswer:
        asked.append(words[0])
        if lost and words[0] != "status":
            raise Unreachable("no answer within 180 s", where="h2")
        return answer("b2")

    monkeypatch.setattr(HostProgram, "call", cast("Any", call))
    return asked


def test_a_host_that_is_lost_during_its_rollback_is_a_failed_change(monkeypatch: pytest.MonkeyPatch) -> None:
    program(monkeypatch, lost=True)
    with Connections.checked_by("/known") as connections, pytest.raises(ChangeFailed, match="lost during"):
        roll_back(HOST, FLEET, connections, None, retry=False)


def test_check_mode_asks_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = program(monkeypatch, lost=False)
    with Connections.checked_by("/known") as connections:
        row = preview(HOST, connections)
    assert asked == ["status"]
    assert (row.extra["outcome"], row.extra["from"], row.exit_code) == ("skipped", "b2", 0)
