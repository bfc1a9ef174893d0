"""
Scan a YAML file before Ansible reads it: sizes, aliases, keys that are set twice.

Ansible only warns about a key that is set twice and hangs on an alias bomb, and PyYAML has no limits
(yaml/pyyaml#235). The limits are far above what an inventory needs.
"""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from strixfleet.errors import Mistake, MistakeCode
from strixfleet.inventory.files.scanned import Scanned, set_twice


FILE_MAX_BYTES = 4 * 1024 * 1024
NODES_MAX = 100_000  # of one file, aliases expanded; a fleet of 1000 hosts has about 20 000
TEXT_CHARS_PER_NODE = 256  # a long text counts like many nodes, since aliases multiply it
DEPTH_MAX = 64
TOO_MANY = f"has more than {NODES_MAX} nodes, aliases expanded"
VAULT_HEADER = b"$ANSIBLE_VAULT;"
TAGS = frozenset({"!", "!vault", "!vault-encrypted", "!unsafe"})
STANDARD_TAG = "tag:yaml.org,2002:"
LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
UTF8_HINT = "save it as UTF-8 text"
SYNTAX_HINTS = {
    "end of stream": "close the quote or bracket that this line opens",
    "\\t": "indent with blanks, not tabs",
    "cannot start any token": "indent with blanks, not tabs, and quote text that begins with @, %, ` or {{",
    "mapping values are not allowed": "quote text that contains a colon, or check the indentation",
    "another document": "keep one document per file",
    "undefined alias": "write the value out",
}
BARE_TEMPLATE = re.compile(r"[:-]\s+\{\{")
TEMPLATE_HINT = 'write NAME: "{{ … }}"'
OTHER_SYNTAX_HINT = "check the indentation and the colons of this line and the one before"


class _Refused(Exception):
    def __init__(self, message: str, line: int, hint: str) -> None:
        self.message, self.line, self.hint = message, line, hint
        super().__init__(message)


def read_capped(path: Path) -> bytes | Mistake:
    """Read a regular file of at most FILE_MAX_BYTES, or return why not."""

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
    """Scan a file's content; an encrypted one has to be decrypted first."""
    if data.startswith(VAULT_HEADER):
        return Scanned(encrypted=True)
    found = Scanned()
    text = ""
    try:
        text = _text(data)
        _check_size(text)
        found.root = yaml.compose(text, Loader=LOADER)
        if found.root is not None:
            _Walk(file, found.mistakes).size(found.root, ())
    except _Refused as refused:
        found.root = None
        found.mistakes.append(
            Mistake(refused.message, file, refused.line, hint=refused.hint, code=MistakeCode.UNREADABLE)
        )
    except yaml.YAMLError as error:
        found.syntax_error = True
        found.mistakes.append(_syntax_mistake(file, text, error))
    return found


def entries(node: yaml.Node) -> Iterator[tuple[str, int, yaml.Node]]:
    """Walk over a map's names with their lines and values; of a name that is set twice the last one holds."""
    if isinstance(node, yaml.MappingNode):
        pairs = {key.value: (key, value) for key, value in node.value if _is_name(key)}
        yield from ((name, line_of(key), value) for name, (key, value) in pairs.items())


def is_map(node: yaml.Node) -> bool:
    """Tell whether a node is a map, or empty as a map without entries is written."""
    return isinstance(node, yaml.MappingNode) or node.tag == f"{STANDARD_TAG}null"


def line_of(node: yaml.Node) -> int:
    """Return the line where a node begins."""
    return int(node.start_mark.line) + 1


def _is_name(key: yaml.Node) -> bool:
    return isinstance(key, yaml.ScalarNode) and key.tag != f"{STANDARD_TAG}merge"


def _text(data: bytes) -> str:
    if b"\0" in data:
        raise _Refused("has a NUL byte", data.count(b"\n", 0, data.index(b"\0")) + 1, UTF8_HINT)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _Refused("is not UTF-8 text", data.count(b"\n", 0, error.start) + 1, UTF8_HINT) from None


def _check_size(text: str) -> None:
    """Refuse what would fill the memory or the stack; aliases are not expanded here."""
    depth = 0
    event: Any
    for count, event in enumerate(yaml.parse(text, Loader=LOADER)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        line = event.start_mark.line + 1
        if depth > DEPTH_MAX:
            raise _Refused(f"is nested more than {DEPTH_MAX} deep", line, "flatten it")
        if count > 2 * NODES_MAX:  # a collection has two events
            raise _Refused(TOO_MANY, line, "split it")


class _Walk:
    """Walks a file's tree once, whatever aliases repeat; notes mistakes as it goes."""

    def __init__(self, file: str, mistakes: list[Mistake]) -> None:
        self.file, self.mistakes = file, mistakes
        self.sizes: dict[yaml.Node, int] = {}  # in nodes, aliases expanded; 0 while a node is open
        self.line = 1  # of the node before

    def size(self, node: yaml.Node, keys: tuple[str, ...]) -> int:
        """Return the size of a node that a path of keys leads to, and check it and all below."""
        known = self.sizes.get(node)
        if known is not None:
            if not known:
                raise _Refused("has an alias that refers to itself", self.line, "write the value out")
            return known
        self.sizes[node], self.line = 0, line_of(node)
        self._check_tag(node)
        size = 1
        if isinstance(node, yaml.ScalarNode):
            size += len(node.value) // TEXT_CHARS_PER_NODE
            self._check_date(node)
        elif isinstance(node, yaml.SequenceNode):
            size += sum(self.size(item, keys) for item in node.value)
        elif isinstance(node, yaml.MappingNode):
            self._check_keys(node, keys)
            for key, value in node.value:
                name = key.value if isinstance(key, yaml.ScalarNode) else ""
                size += self.size(key, keys) + self.size(value, (*keys, name))
        if size > NODES_MAX:
            raise _Refused(TOO_MANY, line_of(node), "split it, and write no alias of aliases")
        self.sizes[node] = size
        return size

    def _note(self, node: yaml.Node, message: str, hint: str) -> None:
        self.mistakes.append(
            Mistake(message, self.file, line_of(node), hint=hint, code=MistakeCode.STRUCTURE)
        )

    def _check_tag(self, node: yaml.Node) -> None:
        if node.tag not in TAGS and (not node.tag.startswith(STANDARD_TAG) or "python" in node.tag):
            self._note(node, f"has the unknown YAML tag {node.tag[:60]!r}", "use !vault, !unsafe or none")

    def _check_date(self, node: yaml.ScalarNode) -> None:
        if node.tag == f"{STANDARD_TAG}timestamp":
            try:
                yaml.constructor.SafeConstructor().construct_yaml_timestamp(node)
            except ValueError:
                self._note(node, f"{node.value} is not a date", "correct the date")

    def _check_keys(self, node: yaml.MappingNode, keys: tuple[str, ...]) -> None:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.MappingNode):  # {{ name }}
                self._note(key, "has a template without quotes", TEMPLATE_HINT)
            elif isinstance(key, yaml.SequenceNode):
                self._note(key, "has a key that is not a plain word", "write `name: value`")
            elif _is_name(key) and key.value not in lines:
                lines[key.value] = line_of(key)
            elif _is_name(key):
                host = keys[-1] if keys[-2:-1] == ("hosts",) else ""
                self.mistakes.append(set_twice(self.file, line_of(key), lines[key.value], key.value, host))


def _syntax_mistake(file: str, text: str, error: yaml.YAMLError) -> Mistake:
    """Return the parser's problem with the line and the cure of the usual slips."""
    mark = getattr(error, "problem_mark", None)
    if "quoted scalar" in str(getattr(error, "context", "")):
        mark = getattr(error, "context_mark", None) or mark
    problem = str(getattr(error, "problem", None) or "cannot be parsed").removeprefix("but ")
    hint = next((hint for part, hint in SYNTAX_HINTS.items() if part in problem), OTHER_SYNTAX_HINT)
    line = mark.line + 1 if mark else 0
    if any(BARE_TEMPLATE.search(near) for near in text.splitlines()[max(line - 2, 0) : line]):
        hint = TEMPLATE_HINT
    return Mistake(f"is not valid YAML: {problem}", file, line, hint=hint, code=MistakeCode.UNREADABLE)
