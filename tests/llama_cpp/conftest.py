"""Small git repositories, and the plugins' Python files, which Ansible finds by another path."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest


ROOT = Path(__file__).resolve().parents[2]
FIXED = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in {"NAME": "t", "EMAIL": "t@t", "DATE": "1767225600 +0000"}.items()
}
Git = Callable[..., str]


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])

    def load(name: str) -> ModuleType:
        return import_module(f"ansible_collections.strixfleet.fleet.plugins.{name}")

    return load


@pytest.fixture(scope="session")
def served() -> Callable[..., AbstractContextManager[str]]:
    """Serve a folder of repositories over http: `with served(folder, address) as url`."""
    place = Path(__file__).with_name("git_http.py")
    spec = spec_from_file_location("git_http", place)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[..., AbstractContextManager[str]] = module.served
    return found


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    folder = tmp_path / "upstream"
    subprocess.run(["git", "init", "-q", "-b", "master", str(folder)], check=True)
    return folder


@pytest.fixture
def in_upstream(upstream: Path) -> Git:
    """Run git in the upstream repository and give what it prints."""

    def run(*arguments: str) -> str:
        argv = ["git", "-C", str(upstream), *arguments]
        done = subprocess.run(argv, check=True, capture_output=True, text=True, env={**os.environ, **FIXED})
        return done.stdout.strip()

    return run


@pytest.fixture
def commit(upstream: Path, in_upstream: Git) -> Callable[..., str]:
    """Commit a file and give the commit."""

    def make(text: str, *tags: str) -> str:
        (upstream / "file").write_text(text, encoding="utf-8")
        in_upstream("add", "-A")
        in_upstream("commit", "-qm", text)
        for tag in tags:
            in_upstream("tag", tag)
        return in_upstream("rev-parse", "HEAD")

    return make
