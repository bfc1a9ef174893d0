"""Modules of the collection, found as Ansible finds them."""

import importlib
import sys
from types import ModuleType

from tests.conftest import ROOT


sys.path.insert(0, str(ROOT))


def collection(name: str) -> ModuleType:
    """Import `plugins/<name>` under its name in the collection."""
    return importlib.import_module(f"ansible_collections.strixfleet.fleet.plugins.{name}")
