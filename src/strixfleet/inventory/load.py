"""
Load the fleet from an Ansible inventory, or find every mistake in it.

In order: the files are scanned for what Ansible would hang on or pass over, Ansible resolves hosts, groups,
vault and templates, the models check each host's values, and each mistake gets its file and line.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from strixfleet.errors import InventoryError, Mistake, UsageError
from strixfleet.inventory.files.folder_scan import survey
from strixfleet.inventory.files.paths import folder_of
from strixfleet.inventory.request import InventoryRequest
from strixfleet.inventory.schema.field_types import quoted
from strixfleet.inventory.schema.fleet_model import Fleet
from strixfleet.printable import without_controls


STATE_FOLDER = ".strixfleet"  # hidden, so that Ansible passes it over
HOSTS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Loaded:
    """The fleet unless something is wrong, and all mistakes and warnings."""

    fleet: Fleet | None
    mistakes: tuple[Mistake, ...]
    host_names: tuple[str, ...] = ()


def load(request: InventoryRequest) -> Fleet:
    """Load the fleet, or raise with every mistake found."""
    loaded = examine(request)
    if loaded.fleet is None:
        raise InventoryError(tuple(mistake for mistake in loaded.mistakes if mistake.keeps_out))
    return loaded.fleet


def examine(request: InventoryRequest) -> Loaded:
    """Load the fleet and return all mistakes and warnings; raise only when there is nothing to look at."""
    sources = find_sources(request.sources)
    found = survey(sources, request.extra_vars)
    if found.keeps_ansible_out():
        return Loaded(None, _merge(found.mistakes))
    from strixfleet.inventory.host_entries import examine_hosts

    try:
        examined = examine_hosts(sources, request, found)
    except InventoryError as error:
        return Loaded(None, _merge([*found.mistakes, *error.mistakes]))
    mistakes = _merge([*found.mistakes, *examined.mistakes])
    names = tuple(host.name for host in examined.hosts)
    if any(mistake.keeps_out for mistake in mistakes):
        return Loaded(None, mistakes, names)
    known_hosts = str(folder_of(sources) / STATE_FOLDER / "known_hosts")
    return Loaded(Fleet(examined.hosts, sources, known_hosts, mistakes), mistakes, names)


def find_sources(given: Sequence[str]) -> tuple[str, ...]:
    """Choose the inventory: flags, ANSIBLE_INVENTORY, ./inventory, else ansible.cfg's."""
    named = tuple(given) or tuple(filter(None, os.environ.get("ANSIBLE_INVENTORY", "").split(",")))
    if not named and Path("inventory").exists():
        named = ("inventory",)
    if not named:
        named = _configured()
    if not named:
        raise UsageError("no inventory", hint="use -i INVENTORY, or write one with `strixfleet init`")
    for source in named:
        if "," not in source and not Path(source).exists():
            raise UsageError(
                "no such inventory", where=source, hint="check -i, or write one with `strixfleet init`"
            )
    return named


def _configured() -> tuple[str, ...]:
    from strixfleet.inventory.ansible.ansible_cfg import configured_sources

    return tuple(source for source in configured_sources() if Path(source).exists())


def _shown(mistake: Mistake) -> Mistake:
    """Return a mistake with its file as the user named it, and nothing in it that can steer a terminal."""
    return replace(
        mistake,
        message=without_controls(mistake.message),
        file=without_controls(_relative(mistake.file)),
        field=without_controls(mistake.field),
        hint=without_controls(mistake.hint),
    )


def _relative(file: str) -> str:
    """Return a path relative to the current folder when it is below it."""
    path = Path(file)
    return (
        str(path.relative_to(Path.cwd())) if path.is_absolute() and path.is_relative_to(Path.cwd()) else file
    )


def _merge(mistakes: Iterable[Mistake]) -> tuple[Mistake, ...]:
    """Report one mistake once, with all hosts that share it, in the order of files and lines."""
    hosts: dict[Mistake, list[str]] = {}
    for mistake in mistakes:
        names = hosts.setdefault(replace(_shown(mistake), host=""), [])
        if mistake.host and mistake.host not in names:
            names.append(mistake.host)
    merged = (replace(mistake, host=_names(names), hosts=tuple(names)) for mistake, names in hosts.items())
    return tuple(sorted(merged, key=lambda item: (item.warning, item.file, item.line)))


def _names(names: Sequence[str]) -> str:
    shown = [name if name.isprintable() else quoted(name) for name in names[:HOSTS_SHOWN]]
    more = f" and {len(names) - HOSTS_SHOWN} more" if len(names) > HOSTS_SHOWN else ""
    return ", ".join(shown) + more
