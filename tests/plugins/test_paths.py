"""The module that writes files, folders, links and kernel values: once, and nothing in check mode."""

import grp
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.plugins.conftest import RunModule


ME = {"owner": pwd.getpwuid(os.geteuid()).pw_name, "group": grp.getgrgid(os.getegid()).gr_name}
SECRET = "canary-secret-1"


def file(path: Path, **changes: str) -> dict[str, str]:
    return {"path": str(path), "content": "one\n", "mode": "0640", **ME, **changes}


def folder(path: Path, mode: str = "0750") -> dict[str, str]:
    return {"path": str(path), "mode": mode, **ME}


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def told(run_module: RunModule, **wanted: object) -> dict[str, Any]:
    """Do it in check mode, then for good: both must say the same, and a second run nothing."""
    foretold = run_module("paths", check=True, **wanted)
    done = run_module("paths", **wanted)
    assert foretold == done
    again = run_module("paths", **wanted)
    assert (again["changed"], again["changed_paths"], again["diff"]) == (False, [], [])
    return done


def test_a_file_is_written_once(run_module: RunModule, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    assert run_module("paths", files=[file(path)])["changed_paths"] == [str(path)]
    assert (path.read_text(), mode_of(path), mode_of(path.parent)) == ("one\n", 0o640, 0o755)
    inode = path.stat().st_ino
    assert run_module("paths", files=[file(path)])["changed"] is False
    assert path.stat().st_ino == inode
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("harm", ["content", "mode", "line ending", "not text"])
def test_what_differs_is_brought_back(run_module: RunModule, tmp_path: Path, harm: str) -> None:
    path = tmp_path / "file"
    run_module("paths", files=[file(path)])
    if harm == "mode":
        path.chmod(0o777)
    else:
        path.write_bytes({"content": b"two\n", "line ending": b"one\r\n", "not text": b"\xff\n"}[harm])
    (difference,) = told(run_module, files=[file(path)])["diff"]
    assert (path.read_bytes(), mode_of(path)) == (b"one\n", 0o640)
    assert difference["after"] == "one\n"
    assert (difference["before"] == "one\n") is (harm == "mode")


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(
    run_module: RunModule, tmp_path: Path
) -> None:
    victim, path = tmp_path / "victim", tmp_path / "file"
    victim.write_text("mine")
    path.symlink_to(victim)
    told(run_module, files=[file(path)])
    assert (victim.read_text(), path.is_symlink(), path.read_text()) == ("mine", False, "one\n")


def test_a_folder_is_made_and_mended(run_module: RunModule, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    told(run_module, folders=[folder(path)])
    assert (mode_of(path), mode_of(path.parent)) == (0o750, 0o755)
    path.chmod(0o777)
    told(run_module, folders=[folder(path)])
    assert mode_of(path) == 0o750


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_stands_in_the_place_of_a_folder_is_left_and_named(
    run_module: RunModule, tmp_path: Path, kind: str
) -> None:
    path, elsewhere = tmp_path / "a", tmp_path / "elsewhere"
    elsewhere.mkdir()
    if kind == "file":
        path.write_text("mine")
    else:
        path.symlink_to(elsewhere)
    answer = run_module("paths", folders=[folder(path)])
    assert answer["failed"]
    assert answer["msg"] == f"{path}: is not a folder"


def test_a_link_is_made_and_turned(run_module: RunModule, tmp_path: Path) -> None:
    path = tmp_path / "a" / "link"
    for target in ("one", "two"):
        told(run_module, links=[{"path": str(path), "target": target}])
        assert path.readlink() == Path(target)
    assert [entry.name for entry in path.parent.iterdir()] == ["link"]


def test_a_file_in_the_place_of_a_link_is_left_and_named(run_module: RunModule, tmp_path: Path) -> None:
    path = tmp_path / "link"
    path.write_text("mine")
    answer = run_module("paths", links=[{"path": str(path), "target": "one"}])
    assert answer["msg"] == f"{path}: is not a link"
    assert path.read_text() == "mine"


def test_files_links_and_folders_are_taken_away(run_module: RunModule, tmp_path: Path) -> None:
    kept, tree, link, plain = (tmp_path / name for name in ("kept", "tree", "link", "plain"))
    for each in (kept, tree / "deep"):
        each.mkdir(parents=True)
    (kept / "file").write_text("mine")
    (tree / "deep" / "link").symlink_to(kept)
    link.symlink_to(kept)
    plain.write_text("x")
    gone = [str(tree), str(link), str(plain)]
    assert told(run_module, absent=gone)["changed_paths"] == gone
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["kept"]
    assert (kept / "file").read_text() == "mine"


def test_a_value_of_the_kernel_is_written_below_its_stand_in(run_module: RunModule, tmp_path: Path) -> None:
    path = tmp_path / "proc/sys/vm/swappiness"
    path.parent.mkdir(parents=True)
    path.write_text("60\n")
    wanted = {"values": [{"path": "/proc/sys/vm/swappiness", "value": "10"}], "kernel_root": str(tmp_path)}
    done = told(run_module, **wanted)
    assert done["changed_paths"] == ["/proc/sys/vm/swappiness"]
    assert path.read_text() == "10\n"


def test_several_words_of_a_value_are_compared_as_words(run_module: RunModule, tmp_path: Path) -> None:
    path = tmp_path / "proc/ports"
    path.parent.mkdir()
    path.write_text("32768\t60999\n")
    wanted = {"values": [{"path": "/proc/ports", "value": "32768 60999"}], "kernel_root": str(tmp_path)}
    assert run_module("paths", **wanted)["changed"] is False


def test_a_value_that_the_kernel_does_not_have_is_named(run_module: RunModule, tmp_path: Path) -> None:
    wanted = {"values": [{"path": "/proc/sys/no", "value": "1"}], "kernel_root": str(tmp_path)}
    assert run_module("paths", **wanted)["msg"] == f"{tmp_path}/proc/sys/no: No such file or directory"


def test_a_secret_is_written_and_shown_nowhere(run_module: RunModule, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old-secret-1\n")
    wanted = file(path, content=f"{SECRET}\n", mode="0600")
    shown = json.dumps(told(run_module, secret_files=[wanted]))
    assert (path.read_text(), mode_of(path)) == (f"{SECRET}\n", 0o600)
    assert SECRET not in shown
    assert "old-secret-1" not in shown


def test_an_account_that_is_not_there_is_named(run_module: RunModule, tmp_path: Path) -> None:
    answer = run_module("paths", files=[file(tmp_path / "file", owner="nobody-of-that-name")])
    assert "nobody-of-that-name" in answer["msg"]
    assert list(tmp_path.iterdir()) == []


def test_check_mode_changes_nothing(run_module: RunModule, tmp_path: Path) -> None:
    (tmp_path / "gone").write_text("x")
    (tmp_path / "value").write_text("1\n")
    answer = run_module(
        "paths",
        check=True,
        files=[file(tmp_path / "a" / "file")],
        secret_files=[file(tmp_path / "b" / "key")],
        folders=[folder(tmp_path / "c")],
        links=[{"path": str(tmp_path / "d" / "link"), "target": "x"}],
        absent=[str(tmp_path / "gone")],
        values=[{"path": "/value", "value": "2"}],
        kernel_root=str(tmp_path),
    )
    assert len(answer["changed_paths"]) == 6
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["gone", "value"]
    assert (tmp_path / "value").read_text() == "1\n"


def test_what_goes_goes_after_what_takes_its_place(run_module: RunModule, tmp_path: Path) -> None:
    """Where the new file cannot be written, the old one still serves."""
    old, blocked = tmp_path / "old", tmp_path / "blocked"
    old.write_text("x")
    blocked.write_text("not a folder")
    answer = run_module("paths", files=[file(blocked / "new")], absent=[str(old)])
    assert answer["failed"]
    assert old.exists()
    paths = run_module("paths", files=[file(tmp_path / "new")], absent=[str(old)])["changed_paths"]
    assert paths == [str(tmp_path / "new"), str(old)]


@pytest.mark.parametrize("words", [(), ("--check",)], ids=["for good", "check mode"])
def test_ansible_runs_it_and_shows_no_secret(tmp_path: Path, words: tuple[str, ...]) -> None:
    path, key = tmp_path / "a" / "file", tmp_path / "key"
    wanted = {"files": [file(path)], "secret_files": [file(key, content=SECRET, mode="0600")]}
    settings = {"ANSIBLE_COLLECTIONS_PATH": str(ROOT), "ANSIBLE_HOME": str(tmp_path / "home")}
    arguments = ["-m", "strixfleet.fleet.paths", "-a", json.dumps(wanted), "--diff", "-vvv", *words]
    argv = [str(Path(sys.executable).with_name("ansible")), "localhost", "-c", "local", *arguments]
    python = ["-e", f"ansible_python_interpreter={sys.executable}"]
    done = subprocess.run(
        [*argv, *python], env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )
    shown = done.stdout.replace(json.dumps(wanted), "")  # -a repeats what was typed
    assert done.returncode == 0, done.stdout + done.stderr
    assert "+one" in shown
    assert SECRET not in shown
    assert (path.exists(), key.exists()) == ((False, False) if words else (True, True))
