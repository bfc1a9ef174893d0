"""Make text from outside safe to show on a terminal."""

import re


MOST_CHARS = 80  # enough for a name
_COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")
_LAYOUT = "\n\t\r"


def without_controls(text: str, kept: str = "") -> str:
    """Replace control characters, except those to keep."""
    return "".join(
        letter if letter.isprintable() or letter in kept else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def printable(text: str, most_chars: int = MOST_CHARS) -> str:
    """Replace control characters and cut long text, which comes from a host or a model file."""
    shown = without_controls(text.strip())
    return shown if len(shown) <= most_chars else shown[: most_chars - 1] + "…"


def without_escapes(text: str) -> str:
    """Replace what a terminal obeys, other than colours and line ends."""
    if text.isprintable():
        return text
    parts = _COLOUR.split(text)
    return "".join(part if at % 2 else without_controls(part, _LAYOUT) for at, part in enumerate(parts))
