"""How often a provision looks at a host: once before the play, once after it, never for nothing."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pytest

from strixfleet.commands import provision
from strixfleet.errors import ExitCode
from strixfleet.fleet import plays, session
from strixfleet.fleet.options import Options
from strixfleet.hosts.remote import CommandResult
from strixfleet.inventory.schema.fleet_model import Fleet
from strixfleet.managed.facts import APPLIED
from strixfleet.on_host.envelope import MARK
from strixfleet.on_host.questions import Answers, Ask
from strixfleet.rollout.sole_operator import Alone
from strixfleet.tools.ansible_playbook import HostOutcome, PlayRequest, PlayStatus
from tests.cases.aspect_cases import Case
from tests.unit.managed.hosts import changed, healthy, said


CONSENT = provision.Consent(yes=True, check=False, diff=False, reboot="never")


class World:
    """One host that answers each probe as recorded, and a play that is only noted."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.probes = 0
        self.plays: list[PlayRequest] = []

    def run(self, argv: Sequence[str], *, timeout_s: float, become: bool = True) -> CommandResult:
        del argv, timeout_s, become
        self.probes += 1
        rows = Answers(self.case.recorded).to_json()
        envelope = {"ok": True, "code": "done", "text": "", "data": rows}
        return CommandResult(0, f"{MARK}{json.dumps(envelope)}\n", "")

    def close(self) -> None:
        """Do nothing."""

    def play(self, request: PlayRequest, _progress: object) -> dict[str, HostOutcome]:
        self.plays.append(request)
        return {"case": HostOutcome(PlayStatus.OK)}


def provisioned(monkeypatch: pytest.MonkeyPatch, case: Case) -> tuple[World, ExitCode]:
    world, fleet = World(case), Fleet((case.host,))

    def nothing(*_arguments: object, **_more: object) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(provision, "load_fleet", lambda _options: fleet)
    monkeypatch.setattr(session, "remote_for", lambda _host, _known: world)
    monkeypatch.setattr(plays, "play", world.play)
    monkeypatch.setattr(provision, "_alone", lambda *_: nullcontext(Alone({}, None)))
    monkeypatch.setattr(provision, "smoke_reports", nothing)
    monkeypatch.setattr(session, "remember", lambda _report: None)
    return world, provision.run_provision(Options(), CONSENT).exit_code


def test_a_host_in_order_is_looked_at_once_and_played_never(monkeypatch: pytest.MonkeyPatch) -> None:
    world, code = provisioned(monkeypatch, healthy())
    assert (world.probes, world.plays, code) == (1, [], ExitCode.OK)


def test_a_host_that_differs_is_looked_at_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    case = changed(healthy(), said(Ask.PACKAGE, "tuned", None))
    world, _code = provisioned(monkeypatch, case)
    assert world.probes == 2
    assert len(world.plays) == 1


def test_the_play_gets_what_the_command_found(monkeypatch: pytest.MonkeyPatch) -> None:
    case = changed(healthy(), said(Ask.PACKAGE, "tuned", None))
    world, _code = provisioned(monkeypatch, case)
    (request,) = world.plays
    handed = request.states["case"]
    assert handed["deeds"] == case.state.deeds(case.answers)
    assert {name: handed["recorded"][name] for name in ("digest", "machine")} == case.state.recorded
    assert [row["id"] for row in handed["differences"]] == ["tuning:tuned"]
    assert handed["applied_stale"] is True  # never applied


def test_a_host_that_was_applied_is_not_recorded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    applied = said(Ask.READ, APPLIED, json.dumps(healthy().state.recorded))
    world, _code = provisioned(monkeypatch, changed(healthy(), applied | said(Ask.PACKAGE, "tuned", None)))
    assert world.plays[0].states["case"]["applied_stale"] is False
