"""Make what a build or a log said safe to show: a terminal obeys escape sequences."""

from __future__ import annotations


LINE_LIMIT = 400


def plain(text: str) -> str:
    """Replace control characters, other than line ends, and cut long lines."""
    return "\n".join(_plain_line(line) for line in text.split("\n"))


def _plain_line(line: str) -> str:
    shown = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for letter in line.rstrip("\r").expandtabs(4)
    )
    return shown if len(shown) <= LINE_LIMIT else shown[: LINE_LIMIT - 1] + "…"
