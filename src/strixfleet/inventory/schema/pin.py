"""The pin's line in the inventory: found and checked beforehand, rewritten after all is confirmed."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import unified_diff

from strixfleet.errors import UsageError
from strixfleet.inventory.schema.fleet_model import Host


KEY = "llama_cpp_ref"


@dataclass(frozen=True, slots=True)
class PinEdit:
    """One line of the inventory, and the pin that it is to carry."""

    file: str
    line: int
    old: str
    new: str


def plan_pin(selected: Iterable[Host], everyone: Iterable[Host], new: str) -> tuple[PinEdit, ...]:
    """
    Say which lines have to change so that the selected hosts, and no others, are pinned to `new`.

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
            hint = "change what the template reads, then upgrade without --to"
            raise UsageError(f"{KEY} is templated, --to cannot rewrite it", where=str(origin), hint=hint)
        edits[(origin.file, origin.line)] = PinEdit(origin.file, origin.line, old, new)
    for host in everyone:
        origin = host.origins.get(KEY)
        if origin and (origin.file, origin.line) in edits and host.name not in chosen:
            hint = f"give the limited hosts a {KEY} of their own, or widen the limit"
            message = f"this line pins {host.name}, too, which is not among the selected hosts"
            raise UsageError(message, where=str(origin), hint=hint)
    return tuple(edits.values())


def rewrite(text: str, edits: Iterable[PinEdit]) -> str:
    """Return a file's text with its pins changed, and nothing else; the rest of each line stays."""
    lines = text.splitlines(keepends=True)
    for edit in edits:
        where = f"{edit.file}:{edit.line}"
        found = lines[edit.line - 1] if 0 < edit.line <= len(lines) else ""
        pattern = rf"(\b{KEY}[\"']?\s*[:=]\s*[\"']?){re.escape(edit.old)}(?![\w.-])"
        changed, count = re.subn(pattern, rf"\g<1>{edit.new}", found)
        if count != 1:
            hint = f"write `{KEY}: {edit.new}` there yourself, then upgrade without --to"
            raise UsageError(f"does not read `{KEY}: {edit.old}`", where=where, hint=hint)
        lines[edit.line - 1] = changed
    return "".join(lines)


def difference(file: str, old: str, new: str) -> str:
    """Show the change as a diff."""
    rows = unified_diff(old.splitlines(), new.splitlines(), file, file, n=1, lineterm="")
    return "\n".join(rows)
