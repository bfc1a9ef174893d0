"""The journal can be read, found again, and never belongs to another rollout."""

import threading
import time
from pathlib import Path

from strixfleet.on_host.questions import Json
from strixfleet.rollout.journal import begin, find_unfinished
from strixfleet.rollout.rollout_state import Event, EventKind, new_rollout
from strixfleet.rollout.step import step


ABOUT: dict[str, Json] = {"inventory": ["/i"], "refs": ["b2"], "want": {"a": "b2-cpu-0"}}


def test_a_cut_rollout_is_found_with_its_state_and_notes(tmp_path: Path) -> None:
    journal = begin(ABOUT, tmp_path)
    state, _ = step(new_rollout([["a"]]), Event(EventKind.BEGIN))
    journal.note("a", downtime_s=1.5)
    journal.keep(state)
    journal.write("a: staged")
    found = find_unfinished(ABOUT, tmp_path)
    assert found is not None
    assert found.state == state
    assert found.notes == {"a": {"downtime_s": 1.5}}
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
            journal.note(f"host{number}", gate=[{"check": "up"}])
            time.sleep(0.0005)

    worker = threading.Thread(target=notes)
    worker.start()
    while worker.is_alive():
        journal.keep(state)
    worker.join()
    assert len(journal.notes) == 1000
