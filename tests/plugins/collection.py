"""Modules of the collection, found as Ansible finds them."""

import importlib
import sys
from types import ModuleType

import pytest

from tests.conftest import ROOT


sys.path.insert(0, str(ROOT))


def collection(name: str) -> ModuleType:
    """Import `plugins/<name>` under its name in the collection."""
    return importlib.import_module(f"ansible_collections.strixfleet.fleet.plugins.{name}")


@pytest.fixture
def proof() -> ModuleType:
    return collection("module_utils.model_proof")


@pytest.fixture
def http_client() -> ModuleType:
    return collection("module_utils.model_http")


@pytest.fixture
def download() -> ModuleType:
    return collection("module_utils.model_download")


@pytest.fixture
def folder_module() -> ModuleType:
    return collection("module_utils.model_folder")
