"""
The files of an inventory, scanned before Ansible sees them, and where each variable is defined in them.

Which files count follows Ansible: everything in a folder but hidden and ignored names, and beside each
source `group_vars/` and `host_vars/`. Programs (dynamic inventories) are left to Ansible.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from strixfleet.errors import Mistake
from strixfleet.inventory.files.ini_scan import scan_ini
from strixfleet.inventory.files.origins import Definition, Scope
from strixfleet.inventory.files.shape import check_shape
from strixfleet.inventory.files.yaml_scan import Scanned, read_capped, scan_bytes
from strixfleet.inventory.files.yaml_tree import Node


VARS_FOLDERS = {"group_vars": "group", "host_vars": "host"}
VARS_SUFFIXES = ("", ".yml", ".yaml", ".json")  # of one name Ansible reads the first that is there
UNREAD = "unread:"
IGNORED_NAME = re.compile(
    r"\.|.*(~|\.(orig|cfg|retry|pyc|pyo|swp|bak|rpm|md|txt|rst))\Z"
)  # ansible's REJECT_EXTS
BEGINS_AS_YAML = re.compile(rb"(?:[ \t\r]*(?:#[^\n]*)?\n)*(?:---|[\w.-]+:[ \t]*(?:#[^\n]*)?\r?\n)")
FILES_MAX = 10_000
NODES_MAX_IN_ALL = 300_000


@dataclass(slots=True)
class Survey:
    """What the files of an inventory hold."""

    mistakes: list[Mistake] = field(default_factory=list)
    definitions: list[Definition] = field(default_factory=list)
    encrypted: list[tuple[Path, str]] = field(default_factory=list)
    nodes: int = 0
    files: int = 0

    def full(self) -> bool:
        """Tell whether the inventory as a whole is beyond every limit."""
        return self.files > FILES_MAX or self.nodes > NODES_MAX_IN_ALL


def survey(sources: tuple[str, ...], extra_vars: tuple[str, ...] = ()) -> Survey:
    """Scan all files of all sources, and what `-e` gives."""
    found = Survey()
    done: set[Path] = set()
    for text in extra_vars:
        if text[:1] in {"{", "["}:
            found.mistakes.extend(scan_bytes("-e", text.encode(errors="replace")).mistakes)
    extra_files = ((Path(text[1:]), "extra:@") for text in extra_vars if text.startswith("@"))
    for named, kind in (*_files(sources), *extra_files):
        path = Path(os.path.realpath(named))  # as Ansible's tags have it
        if path in done:
            continue
        if kind.startswith(UNREAD):
            found.mistakes.append(_unread(path, Path(kind.removeprefix(UNREAD))))
            continue
        done.add(path)
        found.files += 1
        _scan_one(path, kind, found)
        if found.full():
            message = f"the inventory has more than {FILES_MAX} files or {NODES_MAX_IN_ALL} values"
            found.mistakes.append(Mistake(message, str(path), hint="split it into several inventories"))
            break
    return found


def _files(sources: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    """
    List files with their kind: `inventory`, or the scope `group:x` or `host:x` of a vars file.

    A vars file that Ansible passes over has the kind `unread:` and the path that it reads instead.
    """
    for source in sources:
        path = Path(source)
        if "," in source and not path.exists():
            continue  # a list of hosts
        if path.is_dir():
            yield from _folder(path)
        else:
            yield path, "inventory"
        base = path if path.is_dir() else path.parent
        for name, scope in VARS_FOLDERS.items():
            yield from _vars_folder(base / name, scope)


def _listing(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _folder(folder: Path, depth: int = 0) -> Iterator[tuple[Path, str]]:
    for path in _listing(folder):
        if IGNORED_NAME.match(path.name) or path.name in {*VARS_FOLDERS, "vars_plugins"}:
            continue
        if path.is_dir():
            if depth < 8:  # noqa: PLR2004 - a loop of links ends here
                yield from _folder(path, depth + 1)
        else:
            yield path, "inventory"


def _vars_folder(folder: Path, scope: str) -> Iterator[tuple[Path, str]]:
    for path in _listing(folder):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            for inner in sorted(path.rglob("*")):
                if inner.is_file() and not IGNORED_NAME.match(inner.name):
                    yield inner, f"{scope}:{path.name}"
        elif path.suffix in VARS_SUFFIXES or not IGNORED_NAME.match(path.name):
            name = path.stem if path.suffix in VARS_SUFFIXES else path.name
            candidates = (path.with_name(name + suffix) for suffix in VARS_SUFFIXES)
            read = next((one for one in candidates if one.exists()), path)
            yield path, f"{scope}:{name}" if read == path else f"{UNREAD}{read}"


def _unread(path: Path, instead: Path) -> Mistake:
    folder = f"{instead.parent.name}/{instead.name}"
    if instead.is_dir():
        names = (f"{name}{path.suffix or '.yml'}" for name in ("main", instead.name, "more"))
        free = next((name for name in names if not (instead / name).exists()), "")
        message = f"Ansible does not read this file: the folder {folder}/ stands beside it"
        return Mistake(message, str(path), 1, hint=f"move it to {folder}/{free}")
    message = f"Ansible does not read this file: it reads {folder} instead"
    return Mistake(message, str(path), 1, hint="put all into one of them")


def _scan_one(path: Path, kind: str, found: Survey) -> None:
    data = read_capped(path)
    if isinstance(data, Mistake):
        found.mistakes.append(data)
        return
    if kind == "inventory" and _is_program(path, data):
        return
    scanned = scan_bytes(str(path), data)
    if scanned.encrypted:
        found.encrypted.append((path, kind))
    if kind == "inventory" and _is_ini(path, scanned, data):
        scanned, definitions = scan_ini(str(path), data)
    elif path.suffix == ".toml" and kind == "inventory":
        return  # tomllib refuses doubles by itself
    else:
        definitions = list(_definitions(str(path), kind, scanned.root))
    found.nodes += scanned.nodes
    found.mistakes.extend(scanned.mistakes)
    found.mistakes.extend(check_shape(str(path), kind, scanned.root))
    found.definitions.extend(definitions)


def add_decrypted(found: Survey, path: Path, kind: str, data: bytes) -> None:
    """Scan what an encrypted file holds."""
    scanned = scan_bytes(str(path), data)
    found.nodes += scanned.nodes
    found.mistakes.extend(scanned.mistakes)
    found.mistakes.extend(check_shape(str(path), kind, scanned.root))
    found.definitions.extend(_definitions(str(path), kind, scanned.root))


def _is_program(path: Path, data: bytes) -> bool:
    """Tell what Ansible's script plugin would run."""
    return os.access(path, os.X_OK) and (
        data.startswith(b"#!") or path.suffix not in {".yml", ".yaml", ".json"}
    )


def _is_ini(path: Path, scanned: Scanned, data: bytes) -> bool:
    if path.suffix in {".yml", ".yaml", ".json", ".toml"} or scanned.encrypted:
        return False
    if scanned.syntax_error:
        return not BEGINS_AS_YAML.match(data)
    return scanned.root is None or scanned.root.entries is None


def _definitions(file: str, kind: str, root: Node | None) -> Iterator[Definition]:
    if root is None:
        return
    if kind != "inventory":
        level, _, name = kind.partition(":")
        yield from _variables(file, Scope(level, name, in_file=True), root)
    elif root.entries is not None and "plugin" not in root.entries:
        for name, entry in root.pairs():
            yield from _group(file, name, entry.node, 0)


def _variables(file: str, scope: Scope, node: Node) -> Iterator[Definition]:
    for merged in node.merged:
        yield from _variables(file, scope, merged)
    for name, entry in node.pairs():
        yield Definition(name, file, entry.line, scope, entry.node)


def _group(file: str, name: str, node: Node, depth: int) -> Iterator[Definition]:
    if depth > 32:  # noqa: PLR2004 - the scan has bounded it already
        return
    for key, entry in node.pairs():
        if key == "vars":
            yield from _variables(file, Scope("group", name), entry.node)
        elif key == "hosts":
            for host, values in entry.node.pairs():
                yield from _variables(file, Scope("host", host), values.node)
        elif key == "children":
            for child, values in entry.node.pairs():
                yield from _group(file, child, values.node, depth + 1)
