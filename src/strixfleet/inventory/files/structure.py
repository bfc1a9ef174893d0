"""What an inventory file has to look like for Ansible to read all of it."""

from collections.abc import Iterable, Iterator

from strixfleet.errors import Mistake, MistakeCode
from strixfleet.inventory.files.scanned import Assignment, Node, set_twice
from strixfleet.inventory.schema.spelling import nearest


GROUP_KEYS = ("hosts", "vars", "children")


def check_vars_file(file: str, root: Node) -> Iterator[Mistake]:
    """Find what keeps Ansible from reading a file of variables."""
    if not root.is_map():
        message = "is not a map of variables"
        yield Mistake(message, file, root.line, hint="write `name: value` lines", code=MistakeCode.STRUCTURE)


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
        self.assignments: dict[Assignment, None] = {}  # a set in order: an alias repeats what it stands for
        self.mistakes: list[Mistake] = []

    def read(self, root: Node) -> None:
        """Read a whole file; the configuration of an inventory plugin is left to the plugin."""
        if not root.is_map():
            self._note(
                "is not an inventory", root.line, "begin with `all:`, then `hosts:` or `children:` below it"
            )
        elif "plugin" not in (root.entries or {}):
            for name, entry in (root.entries or {}).items():
                self._group(name, entry.node)

    def _group(self, name: str, node: Node) -> None:
        if not node.is_map():
            hint = "write `hosts:`, `vars:` or `children:` below it"
            self._note("is a group, but not a map", node.line, hint, name)
        for key, entry in (node.entries or {}).items():
            where, entries = f"{name}.{key}", entry.node.entries or {}
            if key not in GROUP_KEYS:
                close = nearest(key, GROUP_KEYS)
                hint = f"write {close}" if close else "put a variable below `vars:`, a host below `hosts:`"
                self._note("is not a key of a group: Ansible skips it", entry.line, hint, where)
            elif not entry.node.is_map():
                hint = "write each entry as `name:` on a line of its own, without a dash"
                self._note("is not a map", entry.node.line, hint, where)
            elif key == "vars":
                self._variables(entry.node, group=name)
            elif key == "children":
                for child, below in entries.items():
                    self._group(child, below.node)
            else:
                for host, below in entries.items():
                    self._host(host, below.node, where)

    def _host(self, name: str, node: Node, where: str) -> None:
        if not node.is_map():
            self._note("is not a map", node.line, "write `name: value` lines below the host", where, name)
        self._variables(node, host=name)

    def _variables(self, node: Node, host: str = "", group: str = "") -> None:
        for name, entry in (node.entries or {}).items():
            self.assignments[Assignment(host, group, name, entry.node.text, entry.line)] = None

    def _note(self, message: str, line: int, hint: str, where: str = "", host: str = "") -> None:
        mistake = Mistake(message, self.file, line, host, where, hint, code=MistakeCode.STRUCTURE)
        self.mistakes.append(mistake)
