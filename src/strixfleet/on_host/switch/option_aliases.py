"""
Options that releases of llama.cpp spell differently, and what a build's `--help` says of its own.

A unit names such an option by a variable, whose default is the inventory's spelling. A build that calls it
otherwise has a file OPTIONS beside its programs, which sets the variable anew: so the spelling changes with
the link `current`, and goes back with it. Pure; the controller judges by the same functions.
"""

from __future__ import annotations

import re


OPTIONS = "options"
PREFIX = "STRIXFLEET_OPTION_"
SEVERAL_HOSTS = (
    11104  # the release from which --host takes a list; before, it ended the server (llama.cpp#28690)
)
HOST = PREFIX + "HOST"
ONE_HOST = "%s=127.0.0.1\n" % HOST
# Old and new; where the new spelling has a value, the old one is a flag. Of several load modes the last one
# wins, so the strongest is last. llama.cpp's common/arg.cpp of autumn 2026 has the new ones alone.
PAIRS = (
    ("--mmap", "--load-mode mmap"),
    ("--no-mmap", "--load-mode none"),
    ("--mlock", "--load-mode mlock"),
    ("--direct-io", "--load-mode dio"),
    ("--draft-max", "--spec-draft-n-max"),
    ("--draft-n", "--spec-draft-n-max"),
    ("--draft", "--spec-draft-n-max"),
    ("--draft-min", "--spec-draft-n-min"),
    ("--draft-n-min", "--spec-draft-n-min"),
)
SPELLINGS: dict[str, str] = {**dict(PAIRS), **{new: old for old, new in reversed(PAIRS)}}
_HEAD = re.compile(r" {0,8}(--?[A-Za-z][\w-]*(?:, *--?[A-Za-z][\w-]*)*)")
_REMOVED = re.compile(r"\bargument has been removed\b[.:, ]*(.*?)[. ]*(?:\(env: .*)?$")


def option(words: str) -> str:
    """Return the option of a spelling, less its value."""
    return words.split(maxsplit=1)[0]


def _blocks(help_text: str) -> list[tuple[list[str], str]]:
    """Split a help into options, each with its names and what is said of it in one line."""
    blocks: list[tuple[list[str], list[str]]] = []
    for line in help_text.splitlines():
        head = _HEAD.match(line)
        if head:
            blocks.append((head[1].replace(" ", "").split(","), [line[head.end() :]]))
        elif blocks and line.startswith(" "):
            blocks[-1][1].append(line)
    return [(names, " ".join(" ".join(text).split())) for names, text in blocks]


def help_options(help_text: str) -> dict[str, str]:
    """
    Return the options that a `--help` lists: "" for one that works, else what the help says to use instead.

    A removed option is still listed, and ends the server with an error.
    """
    found: dict[str, str] = {}
    for names, text in _blocks(help_text):
        removed = _REMOVED.search(text)
        for name in names:
            if not removed or name not in found:
                found[name] = (removed[1] or "removed") if removed else ""
    return found


def known_options(help_text: str) -> frozenset[str]:
    """Return the options that work."""
    return frozenset(name for name, instead in help_options(help_text).items() if not instead)


def respelled(help_text: str) -> dict[str, str]:
    """Return {spelling that a build does not understand: the one that it does}."""
    known = known_options(help_text)
    return {
        words: other
        for words, other in SPELLINGS.items()
        if option(words) not in known and option(other) in known
    }


def variable(words: str) -> str:
    """Name the variable that a unit has in place of a spelling."""
    return PREFIX + re.sub("[^A-Z0-9]+", "_", words.upper()).strip("_")


def takes_several(help_text: str) -> bool:
    """Tell whether --host takes a list of addresses; a help that does not say so means one."""
    return any("--host" in names and "comma-separated" in text for names, text in _blocks(help_text))


def options_text(spelling: dict[str, str], several: bool = True) -> str:
    """Write the file OPTIONS, in the form of EnvironmentFile=; what takes one address gets loopback."""
    lines = "".join("%s=%s\n" % (variable(words), other) for words, other in spelling.items())
    return lines if several else lines + ONE_HOST


def foreign_lines(text: str) -> list[str]:
    """Return the lines of a file OPTIONS that we did not write."""
    ours = options_text(SPELLINGS, False).splitlines()
    return [line for line in text.splitlines() if line not in ours]
