"""Make text from outside safe to show on a terminal."""

_MOST_NAME = 80


def printable(text: str) -> str:
    """Replace control characters and cut long text, which comes from a host or a model file."""
    shown = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text.strip()
    )
    return shown if len(shown) <= _MOST_NAME else shown[: _MOST_NAME - 1] + "…"
