"""
Scan a YAML file before Ansible reads it: sizes, aliases, keys that are set twice.

Ansible only warns about a key that is set twice and hangs on an alias bomb, and PyYAML has no limits
(yaml/pyyaml#235). The limits are far above what an inventory needs.
"""

import datetime as dt
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from strixfleet.errors import Mistake, MistakeCode
from strixfleet.inventory.files.scanned import Entry, Node, Scanned, set_twice


FILE_MAX_BYTES = 4 * 1024 * 1024
NODES_MAX = 100_000  # of one file, aliases expanded; a fleet of 1000 hosts has about 20 000
TEXT_CHARS_PER_NODE = 256  # a long text counts like many nodes, since aliases multiply it
DEPTH_MAX = 64
VAULT_HEADER = b"$ANSIBLE_VAULT;"
DATE = re.compile(r"(\d{4})-(\d\d?)-(\d\d?)(?:$|[Tt \t])")
TAGS = frozenset({"!", "!vault", "!vault-encrypted", "!unsafe"})
STANDARD_TAG = "tag:yaml.org,2002:"
LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
SYNTAX_HINTS = {
    "end of stream": "close the quote or bracket that this line opens",
    "\\t": "indent with blanks, not tabs",
    "cannot start any token": "indent with blanks, not tabs, and quote text that begins with @, %, ` or {{",
    "mapping values are not allowed": "quote text that contains a colon, or check the indentation",
}
OTHER_SYNTAX_HINT = "check the indentation and the colons of this line and the one before"


class _Refused(Exception):
    def __init__(self, message: str, line: int, hint: str) -> None:
        self.message, self.line, self.hint = message, line, hint
        super().__init__(message)


def read_capped(path: Path) -> bytes | Mistake:
    """Read a regular file of at most FILE_MAX_BYTES, or say why not."""

    def refused(message: str, hint: str) -> Mistake:
        return Mistake(message, str(path), hint=hint, code=MistakeCode.UNREADABLE)

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return refused("is not a regular file", "move it out of the inventory")
            if status.st_size > FILE_MAX_BYTES:
                hint = f"split it: an inventory file may have at most {FILE_MAX_BYTES // 2**20} MiB"
                return refused(f"has {status.st_size / 2**20:.0f} MiB", hint)
            return stream.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        return refused(f"cannot be read ({error.strerror})", "check its owner and mode")


def scan_yaml(file: str, data: bytes) -> Scanned:
    """Scan a file's content; an encrypted one needs its key first."""
    if data.startswith(VAULT_HEADER):
        return Scanned(encrypted=True)
    scanner = _Scanner(file)
    try:
        text = _text(data)
        scanner.found.root = scanner.document(yaml.parse(text, Loader=LOADER))
    except _Refused as refused:
        scanner.note(refused.message, refused.line, refused.hint, MistakeCode.UNREADABLE)
    except yaml.YAMLError as error:
        scanner.found.syntax_error = True
        scanner.note(*_syntax_mistake(error), MistakeCode.UNREADABLE)
    return scanner.found


def _text(data: bytes) -> str:
    hint = "save it as UTF-8 text"
    if b"\0" in data:
        raise _Refused("has a NUL byte", data.count(b"\n", 0, data.index(b"\0")) + 1, hint)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _Refused("is not UTF-8 text", data.count(b"\n", 0, error.start) + 1, hint) from None


class _Scanner:
    """Builds the tree of one file from parser events, counting nodes as it goes."""

    def __init__(self, file: str) -> None:
        self.file, self.found = file, Scanned()
        self.events: Iterator[Any] = iter(())
        self.keys: list[str] = []  # that lead to the current node
        self.anchors: dict[str | None, tuple[Node, int] | None] = {}

    def note(self, message: str, line: int, hint: str, code: MistakeCode = MistakeCode.STRUCTURE) -> None:
        self.found.mistakes.append(Mistake(message, self.file, line, hint=hint, code=code))

    def document(self, events: Iterator[Any]) -> Node | None:
        """Read the only document of a file."""
        self.events = events
        root: Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    line = event.start_mark.line + 1  # type: ignore[union-attr]
                    raise _Refused("begins a second YAML document", line, "keep one document per file")
                root = self._node(next(events), 0)
        return root

    def _node(self, event: Any, depth: int) -> Node:  # noqa: ANN401 - PyYAML's events have no types
        """Read one node and all below it."""
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor, line)
        before = self.found.node_count
        self._count(1, line)
        if depth > DEPTH_MAX:
            raise _Refused(f"is nested more than {DEPTH_MAX} deep", line, "flatten it")
        self._check_tag(event.tag, line)
        if event.anchor:
            self.anchors[event.anchor] = None  # open: an alias to it now would be a cycle
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event, line)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._list(line, depth)
        else:
            node = self._map(line, depth)
        if event.anchor:
            self.anchors[event.anchor] = (node, self.found.node_count - before)
        return node

    def _count(self, nodes: int, line: int) -> None:
        self.found.node_count += nodes
        if self.found.node_count > NODES_MAX:
            message = f"has more than {NODES_MAX} nodes, aliases expanded"
            raise _Refused(message, line, "split it, and write no alias of aliases")

    def _alias(self, anchor: str | None, line: int) -> Node:
        known = self.anchors.get(anchor)
        if known is None:
            message = f"the alias *{anchor} refers to itself or to nothing"
            raise _Refused(message, line, "write the value out")
        node, nodes = known
        self._count(nodes, line)
        return node

    def _check_tag(self, tag: str | None, line: int) -> None:
        if tag is None or tag in TAGS or (tag.startswith(STANDARD_TAG) and "python" not in tag):
            return
        self.note(f"has the unknown YAML tag {tag[:60]!r}", line, "use !vault, !unsafe or none")

    def _scalar(self, event: Any, line: int) -> Node:  # noqa: ANN401
        self._count(len(event.value) // TEXT_CHARS_PER_NODE, line)
        node = Node(line, text=event.value, plain=not event.style and event.tag is None)
        if node.plain and (found := DATE.match(event.value)):  # YAML would read it as a date
            try:
                dt.date(*map(int, found.groups()))
            except ValueError:
                self.note(f"{event.value} is not a date", line, "correct the date")
        return node

    def _list(self, line: int, depth: int) -> Node:
        items = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return Node(line, items=items)

    def _map(self, line: int, depth: int) -> Node:
        entries: dict[str, Entry] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            self.keys.append(key.text or "")
            value = self._node(next(self.events), depth + 1)
            self.keys.pop()
            if key.entries is not None:  # {{ name }}
                self.note("has a template without quotes", key.line, 'write NAME: "{{ … }}"')
            elif key.text is None:
                self.note("has a key that is not a plain word", key.line, "write `name: value`")
            elif key.text != "<<":  # which may stand for several maps
                self._check_double(entries, key.text, key.line)
                entries[key.text] = Entry(key.line, value)
        return Node(line, entries=entries)

    def _check_double(self, entries: dict[str, Entry], name: str, line: int) -> None:
        if name in entries:
            host = self.keys[-1] if self.keys[-2:-1] == ["hosts"] else ""
            self.found.mistakes.append(set_twice(self.file, line, entries[name].line, name, host))


def _syntax_mistake(error: yaml.YAMLError) -> tuple[str, int, str]:
    """Return the parser's problem, its line, and the cure of the usual slips."""
    mark = getattr(error, "problem_mark", None)
    if "quoted scalar" in str(getattr(error, "context", "")):
        mark = getattr(error, "context_mark", None) or mark
    problem = str(getattr(error, "problem", None) or "cannot be parsed")
    hints = (hint for part, hint in SYNTAX_HINTS.items() if part in problem)
    return f"is not valid YAML: {problem}", mark.line + 1 if mark else 0, next(hints, OTHER_SYNTAX_HINT)
