"""The journal can be read, found again, and never belongs to another rollout."""

import json
import threading
import time
from pathlib import Path
from typing import Any

from strixfleet.on_host.questions import Json
from strixfleet.rollout.host_notes import HostNotes, RenamedOption
from strixfleet.rollout.journal import begin, find_unfinished
from strixfleet.rollout.judge_gate import Check, Result
from strixfleet.rollout.rollout_state import Event, EventKind, HostPhase, HostProgress, new_rollout
from strixfleet.rollout.step import step


ABOUT: dict[str, Json] = {"inventory": ["/i"], "refs": ["b2"], "want": {"a": "b2-cpu-0"}}


def test_a_cut_rollout_is_found_with_its_state_and_notes(tmp_path: Path) -> None:
    journal = begin(ABOUT, tmp_path)
    state, _ = step(new_rollout([["a"]]), Event(EventKind.BEGIN))
    checks = (Check("up", Result.PASSED, "1 healthy"),)
    renamed = (RenamedOption("chat", "--no-mmap", "--load-mode none"),)
    journal.note("a", build_before="b1", downtime_s=1.5)
    journal.note("a", gate=checks, renamed=renamed)
    journal.keep(state)
    journal.write("a: staged")
    found = find_unfinished(ABOUT, tmp_path)
    assert found is not None
    assert found.state == state
    assert found.notes == {"a": HostNotes("b1", 1.5, checks, renamed)}
    assert "a: staged" in journal.path.with_suffix(".log").read_text()


def test_another_or_a_finished_rollout_is_not_taken_up(tmp_path: Path) -> None:
    journal = begin(ABOUT, tmp_path)
    state = new_rollout([["a"]])
    journal.keep(state)
    assert find_unfinished({**ABOUT, "refs": ["b3"]}, tmp_path) is None
    assert find_unfinished({**ABOUT, "inventory": ["/j"]}, tmp_path) is None
    for kind in (EventKind.BEGIN, EventKind.UNCHANGED):
        state, _ = step(state, Event(kind, "a"))
    journal.keep(state)
    assert state.finished
    assert find_unfinished(ABOUT, tmp_path) is None


def test_a_newer_rollout_ends_the_matter_and_damage_is_nothing(tmp_path: Path) -> None:
    begin(ABOUT, tmp_path).keep(new_rollout([["a"]]))
    begin({**ABOUT, "refs": ["b3"]}, tmp_path).keep(new_rollout([["a"]]))
    assert find_unfinished(ABOUT, tmp_path) is None
    (tmp_path / "99999999T000000.json").write_text("{")
    assert find_unfinished({**ABOUT, "refs": ["b3"]}, tmp_path) is not None


def test_hosts_note_facts_while_the_state_is_written(tmp_path: Path) -> None:
    journal = begin(ABOUT, tmp_path)
    state = new_rollout([["a"]])

    def notes() -> None:
        for number in range(1000):
            journal.note(f"host{number}", gate=(Check("up", Result.PASSED, ""),))
            time.sleep(0.0005)

    worker = threading.Thread(target=notes)
    worker.start()
    while worker.is_alive():
        journal.keep(state)
    worker.join()
    assert len(journal.notes) == 1000


def test_a_rollout_that_the_previous_version_left_is_resumed(tmp_path: Path) -> None:
    """Its journal has other names for the phase and for a confirmed host, and other notes."""
    member = {"name": "a", "standing": "gating", "reason": "", "passed": False, "gates": 1, "done": False}
    upgraded = {**member, "name": "c", "standing": "upgraded", "passed": True, "done": True}
    written: dict[str, Any] = {
        "schema": "strixfleet/rollout/1",
        **ABOUT,
        "notes": {
            "a": {"from": "b1", "renamed": [["chat", "--no-mmap", "--load-mode none"]]},
            "c": {
                "from": "b1",
                "downtime_s": 2.0,
                "gate": [{"check": "up", "result": "passed", "reason": ""}],
            },
        },
        "state": {
            "waves": [["c"], ["a"]],
            "members": [upgraded, member],
            "rules": {"max_failures": 0, "max_gates": 3, "return_upgraded": False},
            "wave": 1,
            "halted": "",
            "finished": False,
        },
    }
    (tmp_path / "20261101T000000.json").write_text(json.dumps(written))
    found = find_unfinished(ABOUT, tmp_path)
    assert found is not None
    assert found.state is not None
    assert found.state.members["a"] == HostProgress("a", HostPhase.GATING, gates=1, activated=True)
    assert found.state.members["c"] == HostProgress(
        "c", HostPhase.UPGRADED, gates=1, activated=True, passed=True, confirmed=True
    )
    assert found.notes == {
        "a": HostNotes("b1", renamed=(RenamedOption("chat", "--no-mmap", "--load-mode none"),)),
        "c": HostNotes("b1", 2.0, (Check("up", Result.PASSED, ""),)),
    }
