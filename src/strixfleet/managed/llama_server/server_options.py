"""Holds the options of servers against what another build understands, and spells them for it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from strixfleet.managed.llama_server.unit_quoting import Variable
from strixfleet.on_host.switch.option_aliases import (
    HOST,
    SPELLINGS,
    help_options,
    option,
    respelled,
    variable,
)
from strixfleet.printable import printable


@dataclass(frozen=True, slots=True)
class OptionCheck:
    """
    What another build does not understand: what it calls otherwise, {old: new}, and what nothing helps.

    `addresses` where the unit leaves it to the build on how many of them it listens.
    """

    renames: Mapping[str, str]
    problems: tuple[str, ...]
    addresses: bool = False

    @property
    def rows(self) -> tuple[str, ...]:
        """Name all of it."""
        return (*(f"{old}, which is now `{new}`" for old, new in self.renames.items()), *self.problems)


def unit_words(options: Mapping[str, str | None]) -> tuple[list[str | Variable], dict[str, str]]:
    """
    Return the words of a unit's command, and the variables for what releases spell differently, by name.

    Those come last, in the order of the table, so that the strongest load mode wins. Several addresses are
    a variable, too: an older build, which takes one, listens on loopback alone.
    """
    words: list[str | Variable] = []
    addresses: dict[str, str] = {}
    renamed: dict[str, list[str | Variable]] = {}
    for name, value in options.items():
        one = [f"--{name}"] if value is None else [f"--{name}", value]
        if name == "host" and value and "," in value:
            words += ["--host", Variable(HOST)]
            addresses = {HOST: value}
        elif (whole := " ".join(one)) in SPELLINGS:
            renamed[whole] = [Variable(variable(whole))]
        elif value is not None and " " not in SPELLINGS.get(one[0], " "):
            renamed[one[0]] = [Variable(variable(one[0])), value]
        else:
            words += one
    order = [spelling for spelling in SPELLINGS if spelling in renamed]
    words += [word for spelling in order for word in renamed[spelling]]
    return words, addresses | {variable(spelling): spelling for spelling in order}


def inventory_line(spelling: str) -> str:
    """Return a spelling as it stands under `arguments` of an instance; what takes a value keeps it."""
    name, _, value = spelling.removeprefix("--").partition(" ")
    flag = " " in SPELLINGS.get(spelling, "")
    return f"{name}: {value or ('null' if flag else '…')}"


def used_options(argv: Iterable[str]) -> tuple[str, ...]:
    """Return the long options of a command line."""
    return tuple(word.split("=", 1)[0] for word in argv if re.match(r"--[a-z]", word))


def _as_in_unit(argv: Sequence[str], spellings: Iterable[str]) -> list[str]:
    """Undo what the build that runs is told otherwise: give the command line in the unit's own spelling."""
    words = list(argv)
    for spelling in spellings:
        other = SPELLINGS[spelling].split()
        if option(spelling) in words:
            continue
        for at in range(len(words)):
            if words[at : at + len(other)] == other:
                words[at : at + len(other)] = spelling.split()
                break
    return words


def _spelling(words: Sequence[str], name: str) -> str:
    """Return the spelling in the table that an option of a command line is, or the option itself."""
    at = words.index(name) if name in words else len(words)
    whole = " ".join(words[at : at + 2])
    return whole if whole in SPELLINGS else name


def check_options(argv: Sequence[str], variables: Iterable[str], help_text: str) -> OptionCheck:
    """
    Hold a running server against another build's `--help`.

    `variables` are those of its unit: what the unit names by a variable can be spelled anew, other options
    are written out in it. Without any help nothing is judged.
    """
    names = {variable(spelling): spelling for spelling in SPELLINGS}
    given = set(variables)
    movable = [spelling for name, spelling in names.items() if name in given]
    words = _as_in_unit(argv, movable)
    listed, anew = help_options(help_text), respelled(help_text)
    renames: dict[str, str] = {}
    problems = []
    for name in dict.fromkeys(used_options(words)):
        if not listed or listed.get(name) == "":
            continue
        spelling = _spelling(words, name)
        if spelling in anew and spelling in movable:
            renames[spelling] = anew[spelling]
        elif spelling in anew:
            how = "`strixfleet provision` makes it one that can be rewritten"
            problems.append(f"{spelling}, which is now `{anew[spelling]}` ({how})")
        else:
            problems.append(f"{name} (its help: {printable(listed[name])})" if name in listed else name)
    return OptionCheck(renames, tuple(problems), HOST in given)
