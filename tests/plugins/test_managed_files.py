import grp
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def module(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("modules.managed_files")


def wanted(path: Path, **changes: str) -> dict[str, str]:
    me, mine = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
    return {"path": str(path), "content": "one\n", "mode": "0640", "owner": me, "group": mine} | changes


def test_a_file_is_written_once(module: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    assert module.place(wanted(path), check_mode=False)
    assert path.read_text(encoding="ascii") == "one\n"
    assert path.stat().st_mode & 0o7777 == 0o640
    assert path.parent.stat().st_mode & 0o7777 == 0o755
    inode = path.stat().st_ino
    assert module.place(wanted(path), check_mode=False) is None
    assert path.stat().st_ino == inode
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("harm", ["content", "mode", "line ending"])
def test_what_differs_is_brought_back(module: ModuleType, tmp_path: Path, harm: str) -> None:
    path = tmp_path / "file"
    module.place(wanted(path), check_mode=False)
    if harm == "mode":
        path.chmod(0o777)
    else:
        path.write_bytes(b"two\n" if harm == "content" else b"one\r\n")
    dry_run_report = module.place(wanted(path), check_mode=True)
    assert dry_run_report
    assert path.read_bytes() != b"one\n" or harm == "mode"
    assert module.place(wanted(path), check_mode=False) == dry_run_report
    assert module.place(wanted(path), check_mode=True) is None


def test_a_link_is_replaced_and_not_followed(module: ModuleType, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine", encoding="ascii")
    (tmp_path / "file").symlink_to(victim)
    assert module.place(wanted(tmp_path / "file"), check_mode=False)
    assert victim.read_text(encoding="ascii") == "mine"
    assert not (tmp_path / "file").is_symlink()


def test_check_mode_makes_nothing(module: ModuleType, tmp_path: Path) -> None:
    assert module.place(wanted(tmp_path / "a" / "file"), check_mode=True)
    assert list(tmp_path.iterdir()) == []
