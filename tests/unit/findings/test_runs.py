"""Runs are kept, by several writers at once, and a file that is not ours is said."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strixfleet.errors import FleetError, UsageError
from strixfleet.findings.results import HostReport, Report
from strixfleet.findings.run_store import History
from strixfleet.findings.runs import measurements, series
from strixfleet.findings.verdict import Grade, Verdict


def report(verb: str = "bench", *hosts: str, tps: float = 10.0, build: str = "b1") -> Report:
    when = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
    verdict = Verdict("main", "m", "cpu", "CPU", "tg128", tps, 12.0, 9.0, float("inf"), Grade.OK, "fine")
    rows = tuple(
        HostReport(host, True, verdicts=(verdict,), extra={"build": build}) for host in hosts or ("h1",)
    )
    return Report(verb, rows, when, when)


def test_a_run_comes_back_whole(tmp_path: Path) -> None:
    history = History(tmp_path / "state" / "history.sqlite3")
    number = history.record(report())
    (run,) = history.runs()
    assert (run.number, run.verb, run.exit_code) == (number, "bench", 0)
    assert run.document == report().to_json()
    assert json.dumps(run.document).count("Infinity") == 0


def test_runs_are_chosen_by_host_and_verb_newest_first(tmp_path: Path) -> None:
    history = History(tmp_path / "h.sqlite3")
    for verb, host in (("bench", "a"), ("audit", "a"), ("bench", "b"), ("bench", "a")):
        history.record(report(verb, host))
    assert [run.number for run in history.runs(hosts=("a",), verbs=("bench",))] == [4, 1]
    assert [run.number for run in history.runs(most=2)] == [4, 3]
    assert history.runs(hosts=("a' OR 1=1 --",)) == ()


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite3"

    def write(index: int) -> int:
        return History(path).record(report("bench", f"h{index}"))

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(write, range(40)))
    assert sorted(numbers) == list(range(1, 41))
    assert len(History(path).runs()) == 40


def test_only_its_owner_reads_the_file(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite3"
    History(path).record(report())
    assert path.stat().st_mode & 0o077 == 0


def test_a_damaged_file_is_said_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite3"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(FleetError, match=r"h\.sqlite3: cannot be used .*; hint: move the file away"):
        History(path).runs()


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(UsageError, match="newer strixfleet"):
        History(path).runs()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(FleetError, match="cannot be opened"):
        History(tmp_path / "file" / "h.sqlite3").runs()


def test_measurements_are_grouped_by_host_model_and_test(tmp_path: Path) -> None:
    history = History(tmp_path / "h.sqlite3")
    for tps, build in ((10.0, "b1"), (11.0, "b2")):
        history.record(report(tps=tps, build=build))
    grouped = series(measurements(history.runs()))
    (rows,) = grouped.values()
    assert [(row.build, row.measured_tps, row.ceiling_tps) for row in rows] == [
        ("b1", 10.0, None),
        ("b2", 11.0, None),
    ]
