"""Where the inventory's files define a variable, and which definition holds for a host."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from strixfleet.inventory.files.yaml_tree import Node


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a definition concerns: a group, a host or all (`extra`); in a vars file or inline."""

    level: str
    name: str
    in_file: bool = False

    def names(self, host: str) -> bool:
        """Tell whether a host's own definition, perhaps of a range such as `h[01:20]`, is this host's."""
        if self.level != "host" or "[" not in self.name:
            return self.level == "host" and self.name == host
        parts = (re.escape(part) for part in re.split(r"\[[^\]]*\]", self.name))
        return re.fullmatch(r"\w+".join(parts), host) is not None


@dataclass(frozen=True, slots=True)
class Definition:
    """One place where a variable is given a value."""

    name: str
    file: str
    line: int
    scope: Scope
    node: Node


def holding(definitions: Iterable[Definition], host: str, groups: Sequence[str]) -> Definition | None:
    """
    Choose among definitions of one name the one that wins for a host, by Ansible's precedence.

    `groups` are in Ansible's order, weakest first. Host before group, child before parent, vars file before
    inline.
    """
    order = {name: rank for rank, name in enumerate(groups, 1)}
    best: tuple[tuple[int, int, int], Definition] | None = None
    for index, found in enumerate(definitions):
        scope = found.scope
        if scope.level == "extra":
            rank = len(order) + 2
        elif scope.level == "host":
            rank = len(order) + 1 if scope.names(host) else 0
        else:
            rank = order.get(scope.name, 0)
        if not rank:
            continue
        weight = (rank, int(scope.in_file), index)
        if best is None or weight >= best[0]:
            best = (weight, found)
    return best[1] if best else None
