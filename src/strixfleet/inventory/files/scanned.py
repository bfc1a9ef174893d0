"""What a scan of one inventory file finds."""

from dataclasses import dataclass, field

from strixfleet.errors import Mistake, MistakeCode


@dataclass(slots=True)
class Node:
    """One value of a YAML file: the line where it begins, and what it holds."""

    line: int
    text: str | None = None  # of a scalar
    plain: bool = False  # a scalar without quotes or tag
    items: "list[Node] | None" = None  # of a list
    entries: "dict[str, Entry] | None" = None  # of a map

    def is_map(self) -> bool:
        """Tell whether this is a map, or empty as a map without entries is written."""
        return self.entries is not None or (self.plain and self.text in {"", "~", "null"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a map and its value."""

    line: int
    node: Node


@dataclass(frozen=True, slots=True)
class Assignment:
    """One `name: value` of a host or a group, as an inventory file has it."""

    host: str  # or empty
    group: str  # or empty
    name: str
    text: str | None  # None when the value is not a scalar
    line: int


@dataclass(slots=True)
class Scanned:
    """What one file holds; no root when it is empty, encrypted, wrong or INI."""

    root: Node | None = None
    assignments: list[Assignment] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    encrypted: bool = False
    syntax_error: bool = False
    node_count: int = 0


def set_twice(file: str, line: int, first_line: int, name: str, host: str = "") -> Mistake:
    """Say that a name has two values where one can hold."""
    first = f", first in line {first_line}" if first_line != line else ""
    hint = "remove one of them: Ansible silently takes the last"
    return Mistake(f"is set twice{first}", file, line, host, name[:60], hint, code=MistakeCode.SET_TWICE)
