"""The text of what runs on hosts, each program with the modules of this folder that it imports."""

from __future__ import annotations

import ast
from functools import lru_cache
from importlib.resources import files
from importlib.util import resolve_name
from typing import Iterator


PACKAGE = "strixfleet.on_host"


def text(path: str) -> str:
    """Return one file of this folder, named relative to it."""
    found = files(PACKAGE)
    for part in path.split("/"):
        found = found.joinpath(part)
    return found.read_text(encoding="utf-8")


def path_of(module: str) -> str:
    """Return the file of a module: `switch.builds` is `switch/builds.py`."""
    return module.replace(".", "/") + ".py"


@lru_cache(maxsize=None)
def needed(module: str) -> tuple[str, ...]:
    """Name the modules that a module needs, each after those that it imports, itself last."""
    found: dict[str, None] = {}
    for other in _imported(module):
        found.update(dict.fromkeys(needed(other)))
    return (*found, module)


def _imported(module: str) -> Iterator[str]:
    """Name the modules of this folder that a module imports: `from .a import b` and `from . import a`."""
    own_package = f"{PACKAGE}.{module}".rpartition(".")[0]
    for node in ast.walk(ast.parse(text(path_of(module)))):
        if not isinstance(node, ast.ImportFrom):
            continue
        name = resolve_name("." * node.level + (node.module or ""), own_package)
        full_names = [name] if node.module else [f"{name}.{alias.name}" for alias in node.names]
        yield from (one.removeprefix(PACKAGE + ".") for one in full_names if one.startswith(PACKAGE + "."))
