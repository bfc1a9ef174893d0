"""Modules of the collection, found as Ansible finds them."""

import importlib
import sys
from types import ModuleType

from tests.conftest import ROOT


sys.path.insert(0, str(ROOT))


def collection(name: str) -> ModuleType:
    """Import `plugins/<name>` under its name in the collection."""
    return importlib.import_module(f"ansible_collections.strixfleet.fleet.plugins.{name}")


# Imported before a test loads an inventory: from then on Ansible's own finder answers for collections.
for _path in sorted((ROOT / "plugins").glob("*/*.py")):
    if _path.parent.name in {"modules", "module_utils", "plugin_utils"} and _path.stem != "__init__":
        collection(f"{_path.parent.name}.{_path.stem}")
