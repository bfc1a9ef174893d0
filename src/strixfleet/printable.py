"""Make text from outside safe to show on a terminal."""

MOST_CHARS = 80  # enough for a name


def without_controls(text: str) -> str:
    """Replace control characters."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def printable(text: str, most_chars: int = MOST_CHARS) -> str:
    """Replace control characters and cut long text, which comes from a host or a model file."""
    shown = without_controls(text.strip())
    return shown if len(shown) <= most_chars else shown[: most_chars - 1] + "…"
