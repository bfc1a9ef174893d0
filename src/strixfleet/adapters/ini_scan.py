"""Read the structure of an INI inventory: doubles that Ansible passes over, and where things stand."""

import re
import shlex

from strixfleet.adapters.yaml_scan import Scanned
from strixfleet.core.definitions import Definition, Scope
from strixfleet.core.yaml_tree import Node
from strixfleet.errors import Mistake


SECTION = re.compile(r"\[([^:\]]+)(?::(\w+))?\]\s*(?:[#;].*)?\Z")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
DOUBLE = "keep one of them: Ansible silently takes the last"


def scan_ini(file: str, data: bytes) -> tuple[Scanned, list[Definition]]:
    """Scan an INI inventory; what it means is left to Ansible."""
    scanned, definitions = Scanned(), list[Definition]()
    seen: dict[tuple[str, str, str], int] = {}
    section, kind = "ungrouped", "hosts"
    for line, raw in enumerate(data.decode(errors="replace").splitlines(), 1):
        text = raw.strip()
        if not text or text[0] in "#;":
            continue
        scanned.nodes += 1
        if text.startswith("["):
            match = SECTION.match(text)
            if match:
                section, kind = match[1], match[2] or "hosts"
            continue
        scope, pairs = _line(text, section, kind)
        for name, value in pairs:
            scanned.nodes += 1
            first = seen.setdefault(
                (scope.level, f"{scope.name}:{line if scope.level == 'host' else ''}", name), line
            )
            if (scope.level == "group" and first != line) or _twice(pairs, name):
                message = f"{name[:60]} is given twice for {scope.name[:60]}"
                if first != line:
                    message += f", first in line {first}"
                scanned.mistakes.append(Mistake(message, file, line, field=name[:60], hint=DOUBLE))
                if first == line:
                    break
            definitions.append(Definition(name, file, line, scope, Node(line, text=value, plain=True)))
    return scanned, definitions


def _twice(pairs: list[tuple[str, str]], name: str) -> bool:
    return sum(1 for other, _ in pairs if other == name) > 1


def _line(text: str, section: str, kind: str) -> tuple[Scope, list[tuple[str, str]]]:
    """Give whom a line concerns and its `name=value` pairs."""
    if kind == "vars":
        name, _, value = text.partition("=")
        return Scope("group", section), [(name.strip(), value.strip())]
    if kind != "hosts":
        return Scope("group", section), []
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        words = text.split()
    pairs = [(name, value) for word in words[1:] for name, mark, value in [word.partition("=")] if mark]
    return Scope("host", words[0] if words else ""), [
        (name, value) for name, value in pairs if NAME.match(name)
    ]
