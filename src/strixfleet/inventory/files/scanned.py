"""What a scan of one inventory file finds."""

from dataclasses import dataclass, field

import yaml

from strixfleet.errors import Mistake, MistakeCode


@dataclass(frozen=True, slots=True)
class Assignment:
    """One `name: value` of a host or a group in an inventory file."""

    host: str  # or empty
    group: str  # or empty
    name: str
    text: str | None  # None when the value is not a scalar
    line: int


@dataclass(slots=True)
class Scanned:
    """What one file holds; no root when it is empty, encrypted, wrong or INI."""

    root: yaml.Node | None = None
    assignments: list[Assignment] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    encrypted: bool = False
    syntax_error: bool = False


def set_twice(file: str, line: int, first_line: int, name: str, host: str = "") -> Mistake:
    """Return the mistake that a name has two values where one can hold."""
    first = f", first in line {first_line}" if first_line != line else ""
    hint = "remove one of them: Ansible silently takes the last"
    return Mistake(f"is set twice{first}", file, line, host, name[:60], hint, code=MistakeCode.SET_TWICE)
