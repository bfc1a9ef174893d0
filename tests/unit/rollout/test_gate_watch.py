"""What the gate says of a server that does not stay up."""

from strixfleet.rollout.gate_watch import problems


UNIT = "llama-server@chat.service"


def test_a_log_with_escapes_reaches_neither_terminal_nor_journal() -> None:
    """The reason of a failed gate is shown and kept in the rollout's journal."""
    rows = {UNIT: {"problem": "does not stay up\x1b[2J", "log": "\x1b]0;owned\x07aborted\nat once"}}
    said = problems(rows)
    assert said.replace("\n", "").isprintable()
    assert "aborted\nat once" in said
