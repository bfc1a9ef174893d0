"""Holds the options of running servers against what another build understands."""

import re
from collections.abc import Iterable, Sequence


_OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z0-9-]+)")
# Seen in tag v0.3.36 of llama-cpp-python's tree: `--no-mmap` and `--mlock` end the server with an error.
RENAMES = {"--no-mmap": "--load-mode none", "--mlock": "--load-mode mlock"}


def known_options(help_text: str) -> frozenset[str]:
    """Give the long options that a `--help` lists."""
    return frozenset(_OPTION.findall(help_text))


def used_options(argv: Iterable[str]) -> tuple[str, ...]:
    """Give the long options of a command line."""
    return tuple(word.split("=", 1)[0] for word in argv if re.match(r"--[a-z]", word))


def unknown_options(argv: Sequence[str], help_text: str) -> tuple[str, ...]:
    """Say of each option that the other build does not understand what became of it."""
    known = known_options(help_text)
    if not known:
        return ()
    rows = []
    for option in dict.fromkeys(used_options(argv)):
        if option in known:
            continue
        new = RENAMES.get(option)
        rows.append(f"{option}, which is now `{new}`" if new else option)
    return tuple(rows)
