"""The shape that Ansible expects of a YAML inventory and of a vars file; what has another it skips."""

from collections.abc import Iterator

from strixfleet.errors import Mistake
from strixfleet.inventory.files.yaml_tree import Node
from strixfleet.inventory.schema.spelling import nearest


GROUP_KEYS = ("hosts", "vars", "children")
DEPTH_MAX = 32


def check_shape(file: str, kind: str, root: Node | None) -> Iterator[Mistake]:
    """Check one file; `kind` is `inventory`, or the scope of a vars file."""
    if root is None:
        return
    if kind != "inventory":
        if _wrong(root):
            yield Mistake("holds no map of variables", file, root.line, hint="write `name: value` lines")
    elif _wrong(root):
        hint = "begin with `all:`, then `hosts:` or `children:` below it"
        yield Mistake("is no inventory", file, root.line, hint=hint)
    elif root.entries is not None and "plugin" not in root.entries:
        for name, entry in root.pairs():
            yield from _group(file, name, entry.node, 0)


def _wrong(node: Node) -> bool:
    """Tell whether a node is neither a map nor empty."""
    return node.entries is None and not (node.plain and node.text in {"", "~", "null"})


def _group(file: str, name: str, node: Node, depth: int) -> Iterator[Mistake]:
    if depth > DEPTH_MAX:
        return
    if _wrong(node):
        hint = "write `hosts:`, `vars:` or `children:` below it"
        yield Mistake("is a group, but no map", file, node.line, field=name, hint=hint)
    for key, entry in node.pairs():
        where = f"{name}.{key}"
        if key not in GROUP_KEYS:
            close = nearest(key, GROUP_KEYS)
            hint = f"write {close}" if close else "put a variable below `vars:`, a host below `hosts:`"
            yield Mistake("is no key of a group: Ansible skips it", file, entry.line, field=where, hint=hint)
        elif _wrong(entry.node):
            hint = "write each entry as `name:` on a line of its own, without a dash"
            yield Mistake("is not a map", file, entry.node.line, field=where, hint=hint)
        elif key == "children":
            for child, below in entry.node.pairs():
                yield from _group(file, child, below.node, depth + 1)
        elif key == "hosts":
            yield from _hosts(file, where, entry.node)


def _hosts(file: str, where: str, node: Node) -> Iterator[Mistake]:
    for host, below in node.pairs():
        if _wrong(below.node):
            hint = "write `name: value` lines below the host"
            yield Mistake("is not a map", file, below.node.line, host, where, hint)
