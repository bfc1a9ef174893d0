"""Text that fits 80 columns, is inert, and marks what is simulated."""

import os
import pty
from io import StringIO
from pathlib import Path

import pytest

from strixfleet.errors import UsageError
from strixfleet.findings.results import HostReport, Report
from strixfleet.findings.runs import RunRow
from strixfleet.on_host.questions import Json
from strixfleet.report import terminal
from strixfleet.report.output import show


def text_of(report: Report, *, everything: bool = False) -> str:
    stream = StringIO()
    terminal.show(report, stream=stream, everything=everything)
    return stream.getvalue()


def test_every_line_fits_80_columns(report: Report) -> None:
    lines = text_of(report, everything=True).splitlines()
    assert len(lines) > 20
    assert max(map(len, lines)) <= 80


def test_nothing_steers_the_terminal_and_markup_is_text(report: Report) -> None:
    text = text_of(report, everything=True)
    assert "\x1b" not in text
    assert "[bold]" in text


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_history_is_whole_on_a_narrow_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    error = "halo-1: unreachable: Connection timed out during banner exchange"
    measured: dict[str, Json] = {"test": "tg128", "measured_tps": 51.25, "grade": "ok"}
    hosts: dict[str, Json] = {
        "halo-1": {"reachable": False, "error": error},
        "halo-2": {"build": "b10991-vulkan-0123456789ab", "verdicts": [measured]},
    }
    stream = StringIO()
    run = RunRow(17, "provision", "2026-11-26T13:15:00+00:00", 3, {"hosts": hosts})
    terminal.show_history([run], stream)
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= columns
    assert [text.count(word) for word in ("halo-1", "halo-2", "13:15", "provision")] == [1, 1, 2, 2]
    if columns > 40:
        assert all(word in text for word in ("Connection", "51.2", "tg128"))


def test_what_is_simulated_is_marked(report: Report) -> None:
    assert "simulated: Framework Desktop" in text_of(report)


def test_old_and_new_stand_side_by_side(report: Report) -> None:
    text = text_of(report)
    assert "running: absent → 31457280" in text
    assert "bbbbbbbbbbbb… → aaaaaaaaaaaa…" in text
    assert "configured" not in text  # it does not differ


def test_ok_rows_are_shown_when_asked(report: Report) -> None:
    assert "llama_cpp:pin" not in text_of(report)
    assert "llama_cpp:pin" in text_of(report, everything=True)


def test_the_last_line_sums_up(report: Report) -> None:
    assert (
        text_of(report).splitlines()[-1] == "audit: 2 hosts: 1 unknown: 1 fact, 1 unreachable (exit code 3)"
    )
    fine = Report("audit", (HostReport("h", True),))
    assert text_of(fine).splitlines()[-1] == "audit: 1 host: 1 as desired (exit code 0)"


def on_a_terminal(report: Report) -> bytes:
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w", encoding="utf-8") as stream:
        terminal.show(report, stream=stream)
    found = b""
    while True:
        try:
            block = os.read(leader, 65536)
        except OSError:
            break
        if not block:
            break
        found += block
    os.close(leader)
    return found


def test_colour_is_for_terminals_alone_and_never_under_no_color(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    small = Report("audit", (HostReport("h", False, error="gone"),))
    assert "\x1b" not in text_of(report)
    assert b"\x1b[3" in on_a_terminal(small)
    monkeypatch.setenv("NO_COLOR", "1")
    assert b"\x1b" not in on_a_terminal(small)


def test_results_go_to_stdout_and_json_is_alone_there(
    report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    show(report, as_json=True)
    shown = capsys.readouterr()
    assert shown.out.startswith("{")
    assert shown.out.endswith("}\n")
    assert shown.err == ""
    show(report, to_stderr=True)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "start"), [("r.json", "{"), ("r.html", "<!DOCTYPE html>"), ("r.txt", "h1  simulated")]
)
def test_a_files_name_says_its_medium(
    report: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, start: str
) -> None:
    show(report, output=tmp_path / name)
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(start)
    assert capsys.readouterr().out == ""


def test_a_file_that_cannot_be_written_is_said(report: Report, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        show(report, output=tmp_path / "no" / "such" / "r.json")
