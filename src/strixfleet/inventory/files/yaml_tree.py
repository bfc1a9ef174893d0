"""Where things stand in a YAML file: a tree of lines without values' meaning."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Node:
    """One node of a file: the line where it begins, and what it holds."""

    line: int
    text: str | None = None  # of a scalar
    plain: bool = False  # a scalar without quotes or tag
    items: list["Node"] | None = None  # of a list
    entries: "dict[str, Entry] | None" = None  # of a map
    merged: list["Node"] = field(default_factory=list)  # maps taken in by `<<`

    def entry(self, key: object) -> "Entry | None":
        """Return a key's entry, also out of merged maps."""
        if self.items is not None and isinstance(key, int) and 0 <= key < len(self.items):
            return Entry(self.items[key].line, self.items[key])
        if self.entries is not None and str(key) in self.entries:
            return self.entries[str(key)]
        return next((found for node in self.merged if (found := node.entry(key))), None)

    def find(self, path: Sequence[object]) -> "Node | None":
        """Return the node of a key path."""
        node = self
        for key in path:
            entry = node.entry(key)
            if entry is None:
                return None
            node = entry.node
        return node

    def locate(self, path: Sequence[object]) -> int:
        """Return the line of a key path, or of as much of it as there is."""
        node, line = self, self.line
        for key in path:
            entry = node.entry(key)
            if entry is None:
                break
            node, line = entry.node, entry.line
        return line

    def pairs(self) -> Iterator[tuple[str, "Entry"]]:
        """Walk over a map's own entries."""
        yield from (self.entries or {}).items()


@dataclass(slots=True)
class Entry:
    """One key of a map and its value."""

    line: int
    node: Node
