"""
Read a YAML file's structure before anything else does: positions, duplicate keys, bombs.

Ansible's loader only warns on duplicate keys and hangs on an alias bomb, and PyYAML has no limits
(yaml/pyyaml#235). So each file passes here first; the limits are far above what an inventory needs.
"""

import datetime as dt
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from strixfleet.errors import Mistake
from strixfleet.inventory.files.yaml_tree import Entry, Node


FILE_MAX_BYTES = 4 * 1024 * 1024
NODES_MAX = 100_000  # of one file, aliases expanded; a fleet of 1000 hosts has about 20 000
TEXT_CHARS_PER_NODE = 256  # a long text counts like many nodes, since aliases multiply it
DEPTH_MAX = 64
VAULT_HEADER = b"$ANSIBLE_VAULT;"
DATE = re.compile(r"(\d{4})-(\d\d?)-(\d\d?)(?:$|[Tt \t])")
TAGS = frozenset({None, "!", "!vault", "!vault-encrypted", "!unsafe"})
STANDARD_TAG = "tag:yaml.org,2002:"
LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Scanned:
    """What was found in one file; no root when it is empty, encrypted or wrong."""

    root: Node | None = None
    mistakes: list[Mistake] = field(default_factory=list)
    encrypted: bool = False
    syntax_error: bool = False
    nodes: int = 0


class _Refused(Exception):
    def __init__(self, message: str, line: int, hint: str) -> None:
        self.message, self.line, self.hint = message, line, hint
        super().__init__(message)


def read_capped(path: Path) -> bytes | Mistake:
    """Read a regular file of at most FILE_MAX_BYTES, or say why not."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return Mistake("is no regular file", str(path), hint="take it out of the inventory")
            if status.st_size > FILE_MAX_BYTES:
                size = f"{status.st_size / 2**20:.0f} MiB"
                hint = (
                    f"an inventory file has at most {FILE_MAX_BYTES // 2**20} MiB; split it or take it away"
                )
                return Mistake(f"has {size}", str(path), hint=hint)
            return stream.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        return Mistake(f"cannot be read ({error.strerror})", str(path), hint="check its owner and mode")


class _Scanner:
    """Builds the tree from parser events, counting as it goes."""

    def __init__(self, file: str, events: Iterator[Any]) -> None:
        self.file, self.events = file, events
        self.count = 0
        self.mistakes: list[Mistake] = []
        self.anchors: dict[str | None, tuple[Node, int] | None] = {}

    def _next(self) -> Any:  # noqa: ANN401 - PyYAML's events have no types
        return next(self.events)

    def document(self) -> Node | None:
        """Read the only document of a file."""
        root: Node | None = None
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    line = event.start_mark.line + 1  # type: ignore[union-attr]
                    raise _Refused("begins a second YAML document", line, "keep one document per file")
                root = self.node(self._next(), 0)
        return root

    def node(self, event: Any, depth: int) -> Node:  # noqa: ANN401
        """Read one node and all below it."""
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor, line)
        self._add(1, line)
        if depth > DEPTH_MAX:
            raise _Refused(f"is nested more than {DEPTH_MAX} deep", line, "flatten it")
        self._check_tag(event, line)
        before = self.count
        if event.anchor:
            self.anchors[event.anchor] = None  # open: a reference to it now would be a cycle
        if isinstance(event, yaml.ScalarEvent):
            self._add(len(event.value) // TEXT_CHARS_PER_NODE, line)
            node = Node(line, text=event.value, plain=not event.style and event.tag is None)
            self._check_date(node)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._list(line, depth)
        else:
            node = self._map(line, depth)
        if event.anchor:
            self.anchors[event.anchor] = (node, self.count - before + 1)
        return node

    def _check_date(self, node: Node) -> None:
        """Find what YAML would read as a date and cannot."""
        if node.plain and (found := DATE.match(node.text or "")):
            try:
                dt.date(*map(int, found.groups()))
            except ValueError:
                self._mistake(f"{node.text} is no day of the calendar", node.line, "correct the date")

    def _add(self, count: int, line: int) -> None:
        self.count += count
        if self.count > NODES_MAX:
            raise _Refused(
                f"has more than {NODES_MAX} nodes, aliases expanded",
                line,
                "split it, and write no alias of aliases",
            )

    def _alias(self, anchor: str | None, line: int) -> Node:
        known = self.anchors.get(anchor)
        if known is None:
            raise _Refused(f"the alias *{anchor} refers to itself or to nothing", line, "write the value out")
        self._add(known[1], line)
        return known[0]

    def _check_tag(self, event: Any, line: int) -> None:  # noqa: ANN401
        tag = event.tag
        if tag in TAGS or (tag.startswith(STANDARD_TAG) and "python" not in tag):
            return
        self._mistake(f"has the unknown YAML tag {tag[:60]!r}", line, "use !vault, !unsafe or none")

    def _list(self, line: int, depth: int) -> Node:
        items = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self.node(event, depth + 1))
        return Node(line, items=items)

    def _map(self, line: int, depth: int) -> Node:
        node = Node(line, entries={})
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self.node(event, depth + 1)
            value = self.node(self._next(), depth + 1)
            if key.entries is not None:  # {{ name }}
                self._mistake("has a template without quotes", key.line, 'write NAME: "{{ … }}"')
            elif key.text is None:
                self._mistake("has a key that is no plain word", key.line, "write `name: value`")
            elif key.text == "<<" and key.plain:
                node.merged.extend(value.items if value.items is not None else [value])
            else:
                self._enter(node, key.text, Entry(key.line, value))
        return node

    def _enter(self, node: Node, name: str, entry: Entry) -> None:
        entries = node.entries if node.entries is not None else {}
        if name in entries:
            first = entries[name].line
            self._mistake(
                f"the key {name[:60]!r} stands twice, first in line {first}",
                entry.line,
                "YAML silently keeps the last: keep one of them",
                name[:60],
            )
        entries[name] = entry

    def _mistake(self, message: str, line: int, hint: str, name: str = "") -> None:
        self.mistakes.append(Mistake(message, self.file, line, field=name, hint=hint))


def scan(path: Path) -> Scanned:
    """Scan one file."""
    data = read_capped(path)
    if isinstance(data, Mistake):
        return Scanned(mistakes=[data])
    return scan_bytes(str(path), data)


def scan_bytes(file: str, data: bytes) -> Scanned:
    """Scan a file's content; an encrypted one is left for whoever has the key."""
    if data.startswith(VAULT_HEADER):
        return Scanned(encrypted=True)
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        return Scanned(mistakes=[Mistake("has a NUL byte", file, line, hint="save it as UTF-8 text")])
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return Scanned(mistakes=[Mistake("is no UTF-8 text", file, line, hint="save it as UTF-8 text")])
    return _scan_text(file, text)


def _scan_text(file: str, text: str) -> Scanned:
    scanner = _Scanner(file, yaml.parse(text, Loader=LOADER))
    try:
        root = scanner.document()
    except _Refused as refused:
        mistake = Mistake(refused.message, file, refused.line, hint=refused.hint)
        return Scanned(mistakes=[*scanner.mistakes, mistake], nodes=scanner.count)
    except yaml.YAMLError as error:
        mistakes = [*scanner.mistakes, _syntax_mistake(file, error)]
        return Scanned(mistakes=mistakes, syntax_error=True, nodes=scanner.count)
    return Scanned(root=root, mistakes=scanner.mistakes, nodes=scanner.count)


def _syntax_mistake(file: str, error: yaml.YAMLError) -> Mistake:
    """Say what the parser stumbled over, with the cures of the usual slips."""
    mark = getattr(error, "problem_mark", None)
    if "quoted scalar" in str(getattr(error, "context", "")):
        mark = getattr(error, "context_mark", None) or mark
    line = mark.line + 1 if mark is not None else 0
    problem = str(getattr(error, "problem", None) or "cannot be parsed")
    hint = "check the indentation and the colons of this line and the one before"
    if "end of stream" in problem:
        hint = "close the quote or bracket that this line opens"
    elif "\\t" in problem or "cannot start any token" in problem:
        hint = "indent with blanks instead of tabs, and quote text that begins with @, %, ` or {{"
    elif "mapping values are not allowed" in problem:
        hint = "quote a text that has a colon in it, or check the indentation"
    return Mistake(f"is no YAML: {problem}", file, line, hint=hint)
