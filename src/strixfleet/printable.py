"""Text from elsewhere, fit to be shown."""

_MOST_NAME = 80


def printable(text: str) -> str:
    """Make text from a host or a model file inert: no control characters, no endless lines."""
    shown = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text.strip()
    )
    return shown if len(shown) <= _MOST_NAME else shown[: _MOST_NAME - 1] + "…"
