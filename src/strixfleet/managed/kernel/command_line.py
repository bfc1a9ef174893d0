"""Kernel command lines: the names and values that stand in them."""

import re
from collections.abc import Iterator

from strixfleet.on_host.questions import Json


LOADER_ADDS = frozenset({"BOOT_IMAGE", "initrd", "vt.handoff"})
# A word as GRUB's scripts and the kernel split it: quotes keep blanks, a backslash keeps the next character.
_WORD = re.compile(r"""(?:[^\s"'\\]|\\.|"[^"]*"?|'[^']*'?)+""")
_PART = re.compile(r"""\\(.)|"([^"]*)"?|'([^']*)'?|([^"'\\]+)|\\""")


def words_of(line: str) -> list[str]:
    """Split a line into words without quotes and escapes; a variable of GRUB stays as it is."""
    return [_bare(found[0]) for found in _WORD.finditer(line)]


def _bare(word: str) -> str:
    return "".join(part for found in _PART.finditer(word) for part in found.groups("") if part)


def plain_name(word: str) -> str:
    """Return an argument's name in the kernel's spelling, without quotes and escapes."""
    return re.sub(r"[\\\"']", "", word.partition("=")[0]).replace("-", "_")


def values_of(line: str, name: str) -> Iterator[str]:
    """Return each value of an argument in order; "" for a bare flag."""
    for word in words_of(line):
        key, _, value = word.partition("=")
        if plain_name(key) == plain_name(name):
            yield value


def occurrences(line: str, name: str) -> Json:
    """Return the value of an argument: None absent, "" a bare flag, a list where it stands more than once."""
    values: list[Json] = [*values_of(line, name)]
    if len(values) > 1:
        return values
    return values[0] if values else None
