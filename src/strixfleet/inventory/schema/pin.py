"""Find and check the inventory line with the pin before an upgrade, and rewrite it afterwards."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import unified_diff

from strixfleet.errors import UsageError
from strixfleet.inventory.schema.fleet_model import Host


KEY = "llama_cpp_ref"


@dataclass(frozen=True, slots=True)
class PinEdit:
    """One line of the inventory, and its new pin."""

    file: str
    line: int
    old: str
    new: str


def plan_pin(selected: Iterable[Host], everyone: Iterable[Host], new: str) -> tuple[PinEdit, ...]:
    """
    Return the lines to change so that the selected hosts, and no others, are pinned to `new`.

    Raises UsageError with file:line where a line is templated, unknown, or reaches beyond the limit.
    """
    chosen = {host.name: host for host in selected}
    edits: dict[tuple[str, int], PinEdit] = {}
    for host in chosen.values():
        old, origin = host.settings.llama_cpp_ref, host.origins.get(KEY)
        if old == new:
            continue
        if old is None or origin is None or not origin.line:
            where = str(origin) if origin else host.name
            hint = f"write `{KEY}: {new}` into the inventory, then upgrade without --to"
            raise UsageError(f"the line that sets {KEY} is not known", where=where, hint=hint)
        if origin.templated:
            hint = "change the template's variable, then upgrade without --to"
            raise UsageError(f"{KEY} is a template, which --to cannot rewrite", where=str(origin), hint=hint)
        edits[(origin.file, origin.line)] = PinEdit(origin.file, origin.line, old, new)
    for host in everyone:
        origin = host.origins.get(KEY)
        if origin and (origin.file, origin.line) in edits and host.name not in chosen:
            hint = f"set {KEY} for the selected hosts alone, or widen the limit"
            message = f"this line also pins {host.name}, which is not selected"
            raise UsageError(message, where=str(origin), hint=hint)
    return tuple(edits.values())


def rewrite(text: str, edits: Iterable[PinEdit]) -> str:
    """Return a file's text with its pins changed and nothing else."""
    lines = text.splitlines(keepends=True)
    for edit in edits:
        where = f"{edit.file}:{edit.line}"
        found = lines[edit.line - 1] if 0 < edit.line <= len(lines) else ""
        pattern = rf"(\b{KEY}[\"']?\s*[:=]\s*[\"']?){re.escape(edit.old)}(?![\w.-])"
        changed, count = re.subn(pattern, rf"\g<1>{edit.new}", found)
        if count != 1:
            hint = f"write `{KEY}: {edit.new}` there yourself, then upgrade without --to"
            raise UsageError(f"the line is not `{KEY}: {edit.old}`", where=where, hint=hint)
        lines[edit.line - 1] = changed
    return "".join(lines)


def difference(file: str, old: str, new: str) -> str:
    """Return the change as a diff."""
    rows = unified_diff(old.splitlines(), new.splitlines(), file, file, n=1, lineterm="")
    return "\n".join(rows)
