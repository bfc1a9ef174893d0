"""What an inventory file has to look like for Ansible to read all of it."""

from collections.abc import Iterable, Iterator

import yaml

from strixfleet.errors import Mistake, MistakeCode
from strixfleet.inventory.files.scanned import Assignment, set_twice
from strixfleet.inventory.files.yaml_file import entries, is_map, line_of
from strixfleet.inventory.schema.spelling import nearest


GROUP_KEYS = ("hosts", "vars", "children")


def check_vars_file(file: str, root: yaml.Node) -> Iterator[Mistake]:
    """Find what keeps Ansible from reading a file of variables."""
    if not is_map(root):
        hint = "write `name: value` lines"
        yield Mistake("is not a map of variables", file, line_of(root), hint=hint, code=MistakeCode.STRUCTURE)


def check_doubles(file: str, assignments: Iterable[Assignment]) -> Iterator[Mistake]:
    """Find what a file sets twice; two groups may give a host the same value."""
    seen: dict[tuple[str, str, str], Assignment] = {}
    for one in assignments:
        first = seen.setdefault((one.host, one.group, one.name), one)
        if first is not one and (one.group or first.text != one.text or first.line == one.line):
            yield set_twice(file, one.line, first.line, one.name, one.host)


class GroupReader:
    """Reads the groups of a YAML inventory: what they set, and what Ansible would skip."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.assignments: dict[Assignment, None] = {}  # a set in order: aliases repeat assignments
        self.mistakes: list[Mistake] = []

    def read(self, root: yaml.Node) -> None:
        """Read a whole file; the configuration of an inventory plugin is left to the plugin."""
        if not is_map(root):
            hint = "begin with `all:`, then `hosts:` or `children:` below it"
            self._note("is not an inventory", line_of(root), hint)
        elif all(name != "plugin" for name, _, _ in entries(root)):
            for name, _, node in entries(root):
                self._group(name, node)

    def _group(self, name: str, node: yaml.Node) -> None:
        if not is_map(node):
            hint = "write `hosts:`, `vars:` or `children:` below it"
            self._note("is a group, but not a map", line_of(node), hint, name)
        for key, line, below in entries(node):
            where = f"{name}.{key}"
            if key not in GROUP_KEYS:
                close = nearest(key, GROUP_KEYS)
                hint = f"write {close}" if close else "put a variable below `vars:`, a host below `hosts:`"
                self._note("is not a key of a group: Ansible skips it", line, hint, where)
            elif not is_map(below):
                hint = "write each entry as `name:` on a line of its own, without a dash"
                self._note("is not a map", line_of(below), hint, where)
            elif key == "vars":
                self._variables(below, group=name)
            elif key == "children":
                for child, _, inner in entries(below):
                    self._group(child, inner)
            else:
                for host, _, inner in entries(below):
                    self._host(host, inner, where)

    def _host(self, name: str, node: yaml.Node, where: str) -> None:
        if not is_map(node):
            self._note("is not a map", line_of(node), "write `name: value` lines below the host", where, name)
        self._variables(node, host=name)

    def _variables(self, node: yaml.Node, host: str = "", group: str = "") -> None:
        for name, line, value in entries(node):
            text = value.value if isinstance(value, yaml.ScalarNode) else None
            self.assignments[Assignment(host, group, name, text, line)] = None

    def _note(self, message: str, line: int, hint: str, where: str = "", host: str = "") -> None:
        mistake = Mistake(message, self.file, line, host, where, hint, code=MistakeCode.STRUCTURE)
        self.mistakes.append(mistake)
