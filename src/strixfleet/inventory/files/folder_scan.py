"""
Find the files of an inventory and scan them before Ansible reads them.

Which files count follows Ansible: everything in a folder but hidden and ignored names, and beside each
source `group_vars/` and `host_vars/`. Programs (dynamic inventories) are left to Ansible.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from strixfleet.errors import Mistake, MistakeCode
from strixfleet.inventory.files.ini_file import scan_ini
from strixfleet.inventory.files.scanned import Scanned
from strixfleet.inventory.files.structure import GroupReader, check_doubles, check_vars_file
from strixfleet.inventory.files.yaml_file import read_capped, scan_yaml


VARS_FOLDERS = {"group_vars": "group", "host_vars": "host"}
VARS_SUFFIXES = ("", ".yml", ".yaml", ".json")  # of one name Ansible reads the first that exists
YAML_SUFFIXES = frozenset({".yml", ".yaml", ".json"})
IGNORED_NAME = re.compile(
    r"\.|.*(~|\.(orig|cfg|retry|pyc|pyo|swp|bak|rpm|md|txt|rst))\Z"
)  # ansible's REJECT_EXTS
BEGINS_AS_YAML = re.compile(rb"(?:[ \t\r]*(?:#[^\n]*)?\n)*(?:---|[\w.-]+:[ \t]*(?:#[^\n]*)?\r?\n)")
FOLDERS_DEPTH_MAX = 8  # a loop of links ends here


@dataclass(frozen=True, slots=True)
class InventoryFile:
    """One file: an inventory (no level), or variables of the group or host that it is named after."""

    path: Path
    level: str = ""
    name: str = ""
    read_instead: Path | None = None  # Ansible passes this file over for that one


@dataclass(slots=True)
class Survey:
    """What the files of an inventory hold."""

    mistakes: list[Mistake] = field(default_factory=list)
    vars_files: list[InventoryFile] = field(default_factory=list)
    encrypted: list[InventoryFile] = field(default_factory=list)

    def keeps_ansible_out(self) -> bool:
        """Tell whether Ansible must not read these files; what is set twice does not harm it."""
        return any(not one.warning and one.code is not MistakeCode.SET_TWICE for one in self.mistakes)

    def add(self, file: InventoryFile, scanned: Scanned) -> None:
        """Take in what one file holds."""
        path = str(file.path)
        self.mistakes.extend(scanned.mistakes)
        assignments = scanned.assignments
        if scanned.root is not None and file.level:
            self.mistakes.extend(check_vars_file(path, scanned.root))
        elif scanned.root is not None:
            groups = GroupReader(path)
            groups.read(scanned.root)
            self.mistakes.extend(groups.mistakes)
            assignments = [*groups.assignments]
        self.mistakes.extend(check_doubles(path, assignments))


def survey(sources: tuple[str, ...], extra_vars: tuple[str, ...] = ()) -> Survey:
    """Scan all files of all sources, and what `-e` gives."""
    found = Survey()
    for text in extra_vars:
        if text.startswith(("{", "[")):
            found.mistakes.extend(scan_yaml("-e", text.encode(errors="replace")).mistakes)
    done: set[Path] = set()
    extra_files = (
        InventoryFile(_real(Path(text[1:])), "extra") for text in extra_vars if text.startswith("@")
    )
    for file in (*_files(sources), *extra_files):
        if file.path in done:
            continue
        if file.read_instead:
            found.mistakes.append(_passed_over(file.path, file.read_instead))
            continue
        done.add(file.path)
        _scan(file, found)
    return found


def _real(path: Path) -> Path:
    """Return a path as Ansible's origin tags have it, without links."""
    return Path(os.path.realpath(path))


def _files(sources: tuple[str, ...]) -> Iterator[InventoryFile]:
    for source in sources:
        path = Path(source)
        if "," in source and not path.exists():
            continue  # a list of hosts
        paths = _folder(path) if path.is_dir() else [path]
        yield from (InventoryFile(_real(one)) for one in paths)
        base = path if path.is_dir() else path.parent
        for folder, level in VARS_FOLDERS.items():
            yield from _vars_folder(base / folder, level)


def _listing(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _folder(folder: Path, depth: int = 0) -> Iterator[Path]:
    for path in _listing(folder):
        if IGNORED_NAME.match(path.name) or path.name in {*VARS_FOLDERS, "vars_plugins"}:
            continue
        if not path.is_dir():
            yield path
        elif depth < FOLDERS_DEPTH_MAX:
            yield from _folder(path, depth + 1)


def _vars_folder(folder: Path, level: str) -> Iterator[InventoryFile]:
    for path in _listing(folder):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            for inner in sorted(path.rglob("*")):
                if inner.is_file() and not IGNORED_NAME.match(inner.name):
                    yield InventoryFile(_real(inner), level, path.name)
        elif path.suffix in VARS_SUFFIXES or not IGNORED_NAME.match(path.name):
            name = path.stem if path.suffix in VARS_SUFFIXES else path.name
            candidates = (path.with_name(name + suffix) for suffix in VARS_SUFFIXES)
            read = next((one for one in candidates if one.exists()), path)
            yield InventoryFile(_real(path), level, name, None if read == path else read)


def _passed_over(path: Path, instead: Path) -> Mistake:
    shown = f"{instead.parent.name}/{instead.name}"
    message = f"Ansible does not read this file: it reads {shown} instead"
    hint = "put everything into one of them"
    if instead.is_dir():
        names = (f"{name}{path.suffix or '.yml'}" for name in ("main", instead.name, "more"))
        free = next((name for name in names if not (instead / name).exists()), "")
        message = f"Ansible does not read this file: it reads the folder {shown}/ instead"
        hint = f"move it to {shown}/{free}"
    return Mistake(message, str(path), 1, hint=hint, code=MistakeCode.STRUCTURE)


def _scan(file: InventoryFile, found: Survey) -> None:
    data = read_capped(file.path)
    if isinstance(data, Mistake):
        found.mistakes.append(data)
        return
    if not file.level and (file.path.suffix == ".toml" or _is_program(file.path, data)):
        return  # tomllib refuses doubles itself
    scanned = scan_yaml(str(file.path), data)
    if not file.level and _is_ini(file.path, scanned, data):
        scanned = scan_ini(str(file.path), data)
    if scanned.encrypted:
        found.encrypted.append(file)
    if file.level:
        found.vars_files.append(file)
    found.add(file, scanned)


def _is_program(path: Path, data: bytes) -> bool:
    """Tell what Ansible's script plugin would run."""
    return os.access(path, os.X_OK) and (data.startswith(b"#!") or path.suffix not in YAML_SUFFIXES)


def _is_ini(path: Path, scanned: Scanned, data: bytes) -> bool:
    if path.suffix in YAML_SUFFIXES or scanned.encrypted:
        return False
    if scanned.syntax_error:
        return not BEGINS_AS_YAML.match(data)
    return not isinstance(scanned.root, yaml.MappingNode)
