"""Run a module of ours in this process, as Ansible would on a host, with stand-ins of programs on PATH."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.git_repositories import commit, in_upstream, plugin, served, upstream
from tests.plugins.collection import collection


__all__ = [
    "commit",
    "in_upstream",
    "plugin",
    "served",
    "upstream",
]
RunModule = Callable[..., dict[str, Any]]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that comes first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.fixture
def run_module(capsys: pytest.CaptureFixture[str]) -> RunModule:
    """Return the module's answer, with `rc`; `check` is check mode."""

    def run(name: str, *, check: bool = False, **arguments: object) -> dict[str, Any]:
        from ansible.module_utils.testing import patch_module_args

        module = collection(f"modules.{name}")
        capsys.readouterr()
        with (
            patch_module_args({**arguments, "_ansible_check_mode": check}),
            pytest.raises(SystemExit) as ended,
        ):
            module.main()
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return {**answer, "rc": ended.value.code}

    return run
