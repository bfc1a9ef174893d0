"""Make text from outside safe to show on a terminal."""

import re


_MOST_NAME = 80
_COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")
_LAYOUT = frozenset("\n\t\r")


def printable(text: str) -> str:
    """Replace control characters and cut long text, which comes from a host or a model file."""
    shown = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text.strip()
    )
    return shown if len(shown) <= _MOST_NAME else shown[: _MOST_NAME - 1] + "…"


def without_escapes(text: str) -> str:
    """Replace what a terminal obeys, other than colours and line ends."""
    if text.isprintable():
        return text
    parts = _COLOUR.split(text)
    return "".join(part if at % 2 else _without_controls(part) for at, part in enumerate(parts))


def _without_controls(text: str) -> str:
    return "".join(
        letter if letter.isprintable() or letter in _LAYOUT else "\N{REPLACEMENT CHARACTER}"
        for letter in text
    )
