"""What a build writes into its log cannot steer the terminal that shows it."""

import pytest

from strixfleet.on_host import command, systemd
from strixfleet.on_host.plain_text import plain


ATTACKS = ("\x1b]0;owned\x07", "\x1b[2J\x1b[H", "\x9b31m", "a\rb", "\u202egnp", "\b\b\b", "\x00")


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_that_a_terminal_obeys_is_left(attack: str) -> None:
    shown = plain(f"first {attack} line\nsecond")
    assert shown.endswith("\nsecond")
    assert shown.replace("\n", "").isprintable()


def test_words_lines_and_indents_stay() -> None:
    assert plain("ünï: ☃\n\tx\r\n") == "ünï: ☃\n    x\n"
    assert len(plain("x" * 10_000)) == 400


def test_the_journal_of_a_unit_is_safe_to_show(monkeypatch: pytest.MonkeyPatch) -> None:
    said = command.Finished(0, "error: \x1b]52;c;cm0gLXJm\x07 failed\n", "")
    monkeypatch.setattr(command, "attempt", lambda *_given: said)
    log = systemd.journal("llama-server@chat.service", 8)
    assert log.isprintable()
    assert log.startswith("error: ")
