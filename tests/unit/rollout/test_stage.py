"""Staging: whose options the new build does not understand, who is asked, what each host writes."""

from collections.abc import Mapping, Sequence
from typing import Any

import click
import pytest

from strixfleet.errors import ChangeFailed, FleetError, Unreachable
from strixfleet.fleet import plays
from strixfleet.hosts.connections import Connections
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.rollout import stage
from strixfleet.rollout.host_notes import RenamedOption
from strixfleet.rollout.rollout_state import Event, EventKind
from strixfleet.rollout.stage import Stage, consent
from strixfleet.speed.measure.host_answer import HostAnswer, ServerUnit
from strixfleet.tools.ansible_playbook import HostOutcome, PlayRequest, PlayStatus
from tests.conftest import ROOT
from tests.fixtures.rollout_hosts import surveyed, surveyed_fleet


HELP = ROOT / "tests/unit/on_host/switch/help"
NEW, OLD = (HELP.joinpath(f"{name}.txt").read_text() for name in ("new", "old"))
NO_MMAP = "STRIXFLEET_OPTION_NO_MMAP"
WANT = surveyed("any").want.id
SERVER = ["/bin/llama-server", "--model", "m.gguf", "--port", "8080", "--metrics"]


@pytest.mark.parametrize(
    ("yes", "said", "expected"), [(True, None, True), (False, True, True), (False, False, False)]
)
def test_consent(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    yes: bool,
    said: bool | None,
    expected: bool,
) -> None:
    asked: list[str] = []

    def confirm(text: str, **_more: object) -> bool:
        asked.append(text)
        return bool(said)

    monkeypatch.setattr(click, "confirm", confirm)
    assert consent(yes=yes)(["h1: chat: --no-mmap → --load-mode none"]) is expected
    assert len(asked) == (not yes)
    shown = capsys.readouterr()
    assert "  h1: chat: --no-mmap → --load-mode none" in shown.err
    assert shown.out == ""


def test_without_a_terminal_the_answer_is_no(monkeypatch: pytest.MonkeyPatch) -> None:
    def confirm(*_given: object, **_more: object) -> bool:
        raise click.Abort

    monkeypatch.setattr(click, "confirm", confirm)
    assert consent(yes=False)([]) is False


class World:
    """Hosts behind the stage: how their servers run, what their units name, what the staged build says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, names: Sequence[str]) -> None:
        self.argv = {name: [*SERVER, "--no-mmap"] for name in names}
        self.variables = {name: [NO_MMAP] for name in names}
        self.help = dict.fromkeys(names, NEW)
        self.asked: list[list[str]] = []
        self.answer = True
        self.spelled: list[tuple[str, ...]] = []
        self.refuses: dict[str, FleetError] = {}
        self.notes: dict[str, Any] = {}
        self.survey = surveyed_fleet(*(surveyed(name) for name in names))
        world = self

        class Bench:
            def __init__(self, host: Host, _remote: object) -> None:
                self.host = host

            def look(self, *_given: object) -> HostAnswer:
                return HostAnswer(instances={"chat": ServerUnit(argv=tuple(world.argv[self.host.name]))})

        class Watch:
            def __init__(self, host: Host, _known: str) -> None:
                self.host = host

            def ask(self, _remote: object, what: str, _timeout_s: float, **more: object) -> dict[str, Any]:
                assert (what, more) == ("options", {"build": WANT})
                named = {"llama-server@chat.service": world.variables[self.host.name]}
                return {"help": world.help[self.host.name], "problem": "", "variables": named}

        class HostProgram:
            def __init__(self, host: str, _remote: object, token: int | None) -> None:
                self.host, self.token = host, token

            def must(self, *words: str, **_more: object) -> None:
                if self.host in world.refuses:
                    raise world.refuses[self.host]
                world.spelled.append((self.host, *words, str(self.token)))

        def outcomes(_stage: Stage, chosen: Mapping[str, object]) -> dict[str, HostOutcome]:
            return {name: HostOutcome(PlayStatus.OK) for name in chosen}

        monkeypatch.setattr(stage, "Bench", Bench)
        monkeypatch.setattr(stage, "Watch", Watch)
        monkeypatch.setattr(stage, "HostProgram", HostProgram)
        monkeypatch.setattr(Stage, "_play", outcomes)

    def agree(self, rows: Sequence[str]) -> bool:
        self.asked.append([*rows])
        return self.answer

    def note(self, host: str, **facts: object) -> None:
        self.notes[host] = facts

    def stage(self) -> dict[str, Event]:
        with Connections.checked_by("/known") as connections:
            staging = Stage(self.survey, connections, lambda _name: 7, self.agree, self.note)
            return staging(list(self.survey.hosts))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch, ["h1", "h2"])


def kinds(events: Mapping[str, Event]) -> dict[str, EventKind]:
    return {name: event.kind for name, event in events.items()}


def test_one_question_for_all_and_each_host_writes_for_the_staged_build(world: World) -> None:
    assert kinds(world.stage()) == {"h1": EventKind.STAGED, "h2": EventKind.STAGED}
    assert world.asked == [[f"{name}: chat: --no-mmap → --load-mode none" for name in ("h1", "h2")]]
    assert sorted(world.spelled) == [("h1", "spell", WANT, "7"), ("h2", "spell", WANT, "7")]
    assert world.notes["h1"] == {"renamed": (RenamedOption("chat", "--no-mmap", "--load-mode none"),)}


def test_a_no_is_a_failed_stage_with_the_proposal(world: World) -> None:
    world.answer = False
    events = world.stage()
    assert kinds(events) == {"h1": EventKind.STAGE_FAILED, "h2": EventKind.STAGE_FAILED}
    assert "does not understand chat: --no-mmap, which is now `--load-mode none`" in events["h1"].reason
    assert (world.spelled, world.notes) == ([], {})


def test_nobody_is_asked_for_a_host_that_nothing_helps(world: World) -> None:
    world.argv["h1"].append("--gone")
    events = world.stage()
    assert kinds(events) == {"h1": EventKind.STAGE_FAILED, "h2": EventKind.STAGED}
    assert events["h1"].reason.endswith("`--load-mode none`; chat: --gone")
    assert world.asked == [["h2: chat: --no-mmap → --load-mode none"]]
    assert [row[0] for row in world.spelled] == ["h2"]


def test_nobody_is_asked_on_how_many_addresses_the_staged_build_listens(world: World) -> None:
    world.help = dict.fromkeys(world.help, OLD)
    world.variables["h2"] = ["STRIXFLEET_OPTION_HOST"]
    assert kinds(world.stage()) == {"h1": EventKind.STAGED, "h2": EventKind.STAGED}
    assert (world.asked, world.spelled, world.notes) == ([], [("h2", "spell", WANT, "7")], {})


def test_a_build_for_another_backend_is_no_upgrade(world: World) -> None:
    """Its servers would be started with the device of the old one, and its ref be remembered as bad."""
    world.survey = surveyed_fleet(surveyed("h1", "b1", "vulkan"), surveyed("h2", "b1", "vulkan"))
    events = world.stage()
    assert kinds(events) == {"h1": EventKind.STAGE_FAILED, "h2": EventKind.STAGE_FAILED}
    assert "is for vulkan, the inventory wants cpu" in events["h1"].reason
    assert "then `strixfleet provision`" in events["h1"].reason


def test_nobody_is_asked_where_the_new_build_understands_all(world: World) -> None:
    world.help = dict.fromkeys(world.help, OLD)
    assert kinds(world.stage()) == {"h1": EventKind.STAGED, "h2": EventKind.STAGED}
    assert (world.asked, world.spelled) == ([], [])


def test_a_host_that_cannot_write_is_out(world: World) -> None:
    world.refuses = {
        "h1": ChangeFailed("the lock is held by ann", where="h1"),
        "h2": Unreachable("gone", where="h2"),
    }
    events = world.stage()
    assert kinds(events) == {"h1": EventKind.STAGE_FAILED, "h2": EventKind.LOST}
    assert events["h1"].reason == "the lock is held by ann"
    assert world.notes == {}


def test_hosts_that_run_the_pin_or_did_not_answer_are_not_staged(world: World) -> None:
    world.survey = surveyed_fleet(surveyed("h1", "want"), h2=Unreachable("timed out", where="h2"))
    assert kinds(world.stage()) == {"h1": EventKind.UNCHANGED, "h2": EventKind.LOST}


def test_diff_and_extra_variables_are_handed_to_the_play(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[PlayRequest] = []

    def play(request: PlayRequest, _listen: object) -> dict[str, HostOutcome]:
        asked.append(request)
        return {}

    monkeypatch.setattr(plays, "play", play)
    found = surveyed_fleet(surveyed("h1"))
    with Connections.checked_by("/known") as connections:
        events = Stage(found, connections, lambda _name: 7, diff=True)(["h1"])
    assert [(one.playbook, one.limit, one.diff) for one in asked] == [("stage.yml", "h1", True)]
    assert events["h1"].reason == "the stage play did not reach this host"
