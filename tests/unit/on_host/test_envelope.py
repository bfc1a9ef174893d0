"""What a program answers reaches the controller as it was meant, whatever a login shell prints around it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from strixfleet.errors import ProbeFailed
from strixfleet.hosts import host_code
from strixfleet.hosts.host_code import program_argv, read_envelope
from strixfleet.hosts.host_program import read_answer
from strixfleet.hosts.probe import probe_argv, read_answers
from strixfleet.on_host import envelope
from strixfleet.on_host.envelope import Envelope, Refused, answered, received
from strixfleet.on_host.questions import Ask, Question
from strixfleet.on_host.switch.strixfleet_host import SCHEMA


STATUS = {
    "current": "b2",
    "previous": "b1",
    "builds": ["b1", "b2"],
    "pending": None,
    "refused": [],
    "lock": None,
}


def asked(*questions: Question) -> str:
    argv = probe_argv(questions, root=None, python=sys.executable)
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_every_end_has_its_code() -> None:
    def refuse() -> None:
        raise Refused("held by ann", envelope.LOCKED)

    assert answered(lambda: 1) == Envelope(True, envelope.DONE, "", 1)
    assert answered(refuse) == Envelope(False, envelope.LOCKED, "held by ann")
    assert answered(lambda: Path("/nowhere").stat()).text == "/nowhere: No such file or directory"
    assert answered(lambda: int("x")).code == envelope.FAILED
    assert answered(lambda: int("x")).text.startswith("ValueError: invalid literal")


@pytest.mark.parametrize("chat", ["", "Welcome!\n", "no newline behind this", '{"ok": true}\n[1]\n', "ü\n\n"])
def test_a_chatty_login_shell_corrupts_nothing(chat: str) -> None:
    printed = f"{chat}{asked(Question(Ask.STAT, '/'))}{chat}"
    answers = read_answers(printed, host="h1")
    assert answers[Question(Ask.STAT, "/")].error is None
    assert isinstance(answers[Question(Ask.STAT, "/")].value, dict)


def test_what_is_not_an_answer_is_none() -> None:
    assert received("") is None
    assert received(f"{envelope.MARK}cut in the mid") is None
    assert received(f'{envelope.MARK}{{"from": "another version"}}') is None
    with pytest.raises(ProbeFailed, match="h1: cannot be watched: sorry"):
        read_envelope("hello\n", "warning\nsorry\n", host="h1", failure="cannot be watched")
    with pytest.raises(ProbeFailed, match="h1: cannot be watched: it printed nothing"):
        read_envelope("", "", host="h1", failure="cannot be watched")


def test_a_request_that_one_command_cannot_carry_is_refused_before_it_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert len(program_argv("ask", {})[-1].encode()) < host_code.ARGUMENT_LIMIT_BYTES
    monkeypatch.setattr(host_code, "ARGUMENT_LIMIT_BYTES", 1000)
    with pytest.raises(ProbeFailed, match="more than one command can carry"):
        program_argv("ask", {})


def said(**more: object) -> str:
    return json.dumps({"schema": SCHEMA, "changed": False, "error": None, **STATUS, **more})


def test_the_host_program_is_heard_through_a_chatty_login_shell() -> None:
    answer = read_answer(f"Welcome!\n{{}}\n{said(ok=True, code='done')}\nbye\n", "", host="h1")
    assert (answer.current, answer.code, answer.lost_lock) == ("b2", envelope.DONE, False)
    with pytest.raises(ProbeFailed, match=r"h1: .*gave no answer: not found; hint: `strixfleet provision`"):
        read_answer("", "not found\n", host="h1")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, envelope.DONE),
        ("token 1 is old, the lock's is 2: somebody took over", envelope.FENCED),
        ("locked by ann since 2026-11-28T10:00:00Z, heard of 3 s ago", envelope.LOCKED),
        ("the lock of token 1 has run out", envelope.LOCK_EXPIRED),
        ("b1 is in use", envelope.REFUSED),
    ],
)
def test_a_program_that_was_installed_before_answers_had_codes_is_understood(
    error: str | None, code: str
) -> None:
    answer = read_answer(said(error=error), "", host="h1")
    assert (answer.error, answer.code) == (error or "", code)


@pytest.mark.parametrize(
    ("code", "lost"),
    [
        (envelope.FENCED, True),
        (envelope.LOCKED, True),
        (envelope.LOCK_EXPIRED, True),
        (envelope.FAILED, False),
    ],
)
def test_the_code_decides_and_not_the_words(code: str, lost: bool) -> None:
    answer = read_answer(said(error="somebody took over the disk", ok=False, code=code), "", host="h1")
    assert answer.lost_lock is lost
