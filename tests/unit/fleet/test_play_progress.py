"""A play is never silent for long: what takes minutes says so."""

import gc
import threading
import time

import pytest

from strixfleet.fleet.play_progress import PlayProgress


EVERY_S = 0.05


def beats(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if "still working" in line]


def wait_for_beats(capsys: pytest.CaptureFixture[str]) -> list[str]:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        time.sleep(EVERY_S)
        if found := beats(capsys):
            return found
    return []


def test_a_long_task_says_that_it_still_works(capsys: pytest.CaptureFixture[str]) -> None:
    progress = PlayProgress(every_s=EVERY_S)
    progress({"event": "task", "name": "strixfleet.fleet.gpu_stack : Install the packages"})
    found = wait_for_beats(capsys)
    assert found
    assert "still working: Install the packages, 0 s" in found[0]
    progress({"event": "stats", "hosts": {}})
    capsys.readouterr()
    time.sleep(4 * EVERY_S)
    assert beats(capsys) == []


def test_lines_that_are_shown_anyway_need_no_heartbeat(capsys: pytest.CaptureFixture[str]) -> None:
    progress = PlayProgress(every_s=1.0)
    progress({"event": "task", "name": "Build"})
    for _ in range(6):
        progress({"event": "ok", "host": "h", "task": "Build", "changed": True})
        time.sleep(0.25)
    progress({"event": "stats", "hosts": {}})
    assert beats(capsys) == []


def test_a_play_that_broke_off_leaves_no_heartbeat(capsys: pytest.CaptureFixture[str]) -> None:
    progress = PlayProgress(every_s=EVERY_S)
    progress({"event": "task", "name": "Build"})
    assert wait_for_beats(capsys)
    del progress
    gc.collect()
    deadline = time.monotonic() + 5
    while any(one.name == "heartbeat" for one in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(one.name == "heartbeat" for one in threading.enumerate())
