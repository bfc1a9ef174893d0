"""
Load the fleet from an Ansible inventory, and every mistake in it.

In order: the files are scanned (bombs, doubles), Ansible resolves hosts, groups, vault and templates, the
models check each host's values, and each mistake gets the file and line where its value stands.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from strixfleet.errors import InventoryError, Mistake, UsageError
from strixfleet.inventory.files.folder_scan import Survey, survey
from strixfleet.inventory.schema.field_types import quoted
from strixfleet.inventory.schema.fleet_model import Fleet


STATE_FOLDER = ".strixfleet"  # hidden, so that Ansible passes it over
HOSTS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class InventoryRequest:
    """Which inventory, which hosts of it, and what is needed to read it."""

    sources: tuple[str, ...] = ()
    limit: str | None = None
    extra_vars: tuple[str, ...] = ()
    ask_vault_pass: bool = False
    vault_password_files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """What loading gave: the fleet unless something is wrong, and all that is wrong or doubtful."""

    fleet: Fleet | None
    mistakes: tuple[Mistake, ...]
    host_names: tuple[str, ...] = ()


def load(request: InventoryRequest) -> Fleet:
    """Load the fleet, or raise with every mistake found."""
    loaded = examine(request)
    if loaded.fleet is None:
        raise InventoryError(tuple(mistake for mistake in loaded.mistakes if not mistake.warning))
    return loaded.fleet


def examine(request: InventoryRequest) -> Loaded:
    """Load the fleet and give all mistakes and warnings; raises only when there is nothing to look at."""
    sources = find_sources(request.sources)
    found = survey(sources, request.extra_vars)
    mistakes = [_relative(mistake) for mistake in found.mistakes]
    if _dangerous(found):
        return Loaded(None, tuple(mistakes))
    from strixfleet.inventory.host_entries import examine_hosts

    try:
        fleet, more = examine_hosts(sources, request, found)
    except InventoryError as error:
        return Loaded(None, _merge([*mistakes, *(_relative(mistake) for mistake in error.mistakes)]))
    mistakes.extend(_relative(mistake) for mistake in more)
    merged = _merge(mistakes)
    names = tuple(host.name for host in fleet.hosts)
    if any(not mistake.warning for mistake in merged):
        return Loaded(None, merged, names)
    made = Fleet(fleet.hosts, sources, known_hosts_file(sources), merged)
    return Loaded(made, merged, names)


def find_sources(given: Sequence[str]) -> tuple[str, ...]:
    """Choose the inventory: flags, ANSIBLE_INVENTORY, ./inventory, else ansible.cfg's."""
    named = tuple(given) or tuple(filter(None, os.environ.get("ANSIBLE_INVENTORY", "").split(",")))
    if not named and Path("inventory").exists():
        named = ("inventory",)
    if not named:
        named = _configured()
    if not named:
        raise UsageError("no inventory", hint="give -i INVENTORY, or write one with `strixfleet init`")
    for source in named:
        if "," not in source and not Path(source).exists():
            raise UsageError(
                "no such inventory", where=source, hint="check -i, or write one with `strixfleet init`"
            )
    return named


def _configured() -> tuple[str, ...]:
    from strixfleet.inventory.ansible.ansible_cfg import configured_sources

    return tuple(source for source in configured_sources() if Path(source).exists())


def known_hosts_file(sources: Sequence[str]) -> str:
    """Return the fleet's own known_hosts, beside its inventory."""
    for source in sources:
        path = Path(source)
        if path.exists():
            folder = path if path.is_dir() else path.parent
            return str(folder.resolve() / STATE_FOLDER / "known_hosts")
    return str(Path.cwd() / STATE_FOLDER / "known_hosts")


def _dangerous(found: Survey) -> bool:
    """Tell whether Ansible must not see these files: doubles are harmless to it, the rest is not."""
    return any(not mistake.warning and "stands twice" not in mistake.message for mistake in found.mistakes)


def _relative(mistake: Mistake) -> Mistake:
    """Return files as the user named them: relative to the current folder when they are below it."""
    path = Path(mistake.file)
    if not path.is_absolute():
        return mistake
    try:
        shown = str(path.relative_to(Path.cwd()))
    except ValueError:
        return mistake
    return _with(mistake, file=shown)


def _with(mistake: Mistake, *, file: str | None = None, host: str | None = None) -> Mistake:
    """Copy a mistake; nothing in it can steer a terminal."""
    return Mistake(
        printable(mistake.message),
        printable(mistake.file if file is None else file),
        mistake.line,
        mistake.host if host is None else host,
        printable(mistake.field),
        printable(mistake.hint),
        mistake.warning,
    )


def printable(text: str) -> str:
    """Write control characters as escapes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _merge(mistakes: Iterable[Mistake]) -> tuple[Mistake, ...]:
    """Say one mistake once: the hosts that share it are listed, the order is that of files and lines."""
    hosts: dict[Mistake, list[str]] = {}
    for mistake in mistakes:
        names = hosts.setdefault(_with(mistake, host=""), [])
        if mistake.host and mistake.host not in names:
            names.append(mistake.host)
    merged = [
        replace(_with(mistake, host=_names(names)), hosts=tuple(names)) for mistake, names in hosts.items()
    ]
    return tuple(sorted(merged, key=lambda item: (item.warning, item.file, item.line)))


def _names(names: Sequence[str]) -> str:
    shown = [name if name.isprintable() else quoted(name) for name in names[:HOSTS_SHOWN]]
    more = f" and {len(names) - HOSTS_SHOWN} more" if len(names) > HOSTS_SHOWN else ""
    return ", ".join(shown) + more
