"""Scan an INI inventory before Ansible reads it: lines that it would misread, and what each line sets."""

import re
import shlex
from pathlib import Path

from strixfleet.errors import Mistake, MistakeCode
from strixfleet.inventory.files.scanned import Assignment, Scanned
from strixfleet.inventory.schema.spelling import nearest


SECTION = re.compile(r"\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?\Z")  # as Ansible's ini plugin has it
HOST = re.compile(r"\[[^\]\s]*:[^\]\s]*\](?!\s*(?:[;#]|\Z))")  # [01:09].lan, [01:09] name=value, [::1]:22
KINDS = ("hosts", "children", "vars")


class _Malformed(Exception):
    def __init__(self, message: str, hint: str) -> None:
        self.message, self.hint = message, hint
        super().__init__(message)


def has_sections(path: Path) -> bool:
    """Tell whether a file that Ansible could not read was meant as INI: it has a line such as `[group]`."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return False
    return any(SECTION.match(line.strip()) for line in text.splitlines())


def scan_ini(file: str, data: bytes) -> Scanned:
    """Scan a file's content."""
    scanned = Scanned()
    group, kind = "ungrouped", "hosts"
    for line, raw in enumerate(data.decode(errors="replace").splitlines(), 1):
        text = raw.strip()
        if not text or text[0] in "#;":
            continue
        try:
            if text.startswith("[") and not HOST.match(text):
                group, kind = "", ""  # what follows a wrong head is not judged
                group, kind = _section(text)
            elif kind == "vars":
                scanned.assignments.append(_group_variable(text, group, line))
            elif kind == "hosts":
                scanned.assignments.extend(_host_variables(text, line))
        except _Malformed as wrong:
            mistake = Mistake(wrong.message, file, line, hint=wrong.hint, code=MistakeCode.STRUCTURE)
            scanned.mistakes.append(mistake)
    return scanned


def _section(text: str) -> tuple[str, str]:
    """Read the head of a section: the group's name, and what its lines are."""
    match = SECTION.match(text)
    if match is None:
        hint = "write [group], [group:children] or [group:vars]"
        raise _Malformed(f"{text[:60]!r} is not a valid section", hint)
    name, kind = match[1], match[2] or "hosts"
    if kind not in KINDS:
        near = nearest(kind, KINDS) or "children or vars"
        raise _Malformed(f"[{name[:60]}:{kind[:60]}] is not a known kind of section", f"write {near}")
    return name, kind


def _group_variable(text: str, group: str, line: int) -> Assignment:
    name, equals, value = text.partition("=")
    if not equals:
        word = text.split(maxsplit=1)[0][:60]
        raise _Malformed(f"{word!r} has no value", "write name=value, one per line")
    return Assignment("", group, name.strip(), value.strip(), line)


def _host_variables(text: str, line: int) -> list[Assignment]:
    try:
        host, *words = shlex.split(text, comments=True)
    except ValueError:
        raise _Malformed("a quote is not closed", "close it in the same line") from None
    pairs = (word.partition("=") for word in words if "=" in word)
    return [Assignment(host, "", name, value, line) for name, _, value in pairs]
