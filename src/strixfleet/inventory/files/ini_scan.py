"""Read the structure of an INI inventory: doubles that Ansible passes over, and where things stand."""

import re
import shlex
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from strixfleet.errors import Mistake
from strixfleet.inventory.files.origins import Definition, Scope
from strixfleet.inventory.files.yaml_scan import Scanned
from strixfleet.inventory.files.yaml_tree import Node


SECTION = re.compile(r"\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?\Z")  # as Ansible's ini plugin has it
HOST = re.compile(r"\[[^\]\s]*:[^\]\s]*\](?!\s*(?:[;#]|\Z))")  # [01:09].lan, [01:09] name=value, [::1]:22
KINDS = ("hosts", "children", "vars")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
DOUBLE = "keep one of them: Ansible silently takes the last"


def scan_ini(file: str, data: bytes) -> tuple[Scanned, list[Definition]]:
    """Scan an INI inventory; what it means is left to Ansible."""
    scanned, definitions = Scanned(), list[Definition]()
    seen: dict[tuple[str, str, str], tuple[int, str]] = {}
    for line, text, section, kind in _lines(file, data, scanned):
        scope, pairs = _line(text, section, kind)
        for name, value in pairs:
            scanned.nodes += 1
            first, before = seen.setdefault((scope.level, scope.name, name), (line, value))
            doubled = first != line and (scope.level == "group" or before != value)
            if doubled or _twice(pairs, name):
                message = f"{name[:60]} is given twice for {scope.name[:60]}"
                if first != line:
                    message += f", first in line {first}"
                scanned.mistakes.append(Mistake(message, file, line, field=name[:60], hint=DOUBLE))
                if first == line:
                    break
            definitions.append(Definition(name, file, line, scope, Node(line, text=value, plain=True)))
    return scanned, definitions


def _lines(file: str, data: bytes, scanned: Scanned) -> Iterator[tuple[int, str, str, str]]:
    """Walk over the well-formed lines of sections, with the section's name and kind; note the others."""
    section, kind = "ungrouped", "hosts"
    for line, raw in enumerate(data.decode(errors="replace").splitlines(), 1):
        text = raw.strip()
        if not text or text[0] in "#;":
            continue
        scanned.nodes += 1
        is_head = text.startswith("[") and not HOST.match(text)
        if is_head:
            section, kind, wrong = _section(text)
        else:
            wrong = _malformed(text, kind)
        if wrong:
            scanned.mistakes.append(Mistake(wrong[0], file, line, hint=wrong[1]))
        elif not is_head and kind:
            yield line, text, section, kind


def has_sections(path: Path) -> bool:
    """Tell whether a file that Ansible could not read was meant as INI: it has a line such as `[group]`."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return False
    return any(SECTION.match(line.strip()) for line in text.splitlines())


def _section(text: str) -> tuple[str, str, tuple[str, str] | None]:
    """Read the head of a section: its name, its kind, and what is wrong with it."""
    match = SECTION.match(text)
    if match is None:
        hint = "write [group], [group:children] or [group:vars]"
        return "", "", (f"{text[:60]!r} is no head of a section", hint)
    kind = match[2] or "hosts"
    if kind in KINDS:
        return match[1], kind, None
    near = get_close_matches(kind, KINDS, n=1) or ["children or vars"]
    return match[1], "", (f"[{match[1][:60]}:{kind[:60]}] is of no known kind", f"write {near[0]}")


def _malformed(text: str, kind: str) -> tuple[str, str] | None:
    """Say what Ansible would not read in a line of a section."""
    if kind == "vars" and "=" not in text:
        return f"{text[:60].split(maxsplit=1)[0]!r} has no value", "write name=value, one in a line"
    if kind == "hosts":
        try:
            shlex.split(text, comments=True)
        except ValueError:
            return "a quote is not closed", "close it in the same line"
    return None


def _twice(pairs: list[tuple[str, str]], name: str) -> bool:
    return sum(1 for other, _ in pairs if other == name) > 1


def _line(text: str, section: str, kind: str) -> tuple[Scope, list[tuple[str, str]]]:
    """Return whom a line concerns and its `name=value` pairs."""
    if kind == "vars":
        name, _, value = text.partition("=")
        return Scope("group", section), [(name.strip(), value.strip())]
    if kind != "hosts":
        return Scope("group", section), []
    words = shlex.split(text, comments=True)
    pairs = [(name, value) for word in words[1:] for name, mark, value in [word.partition("=")] if mark]
    return Scope("host", words[0] if words else ""), [
        (name, value) for name, value in pairs if NAME.match(name)
    ]
