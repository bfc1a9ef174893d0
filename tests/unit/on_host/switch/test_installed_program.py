"""The host program as it is installed: the files that provision writes, without strixfleet beside them."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from strixfleet.managed.llama_cpp.host_program import HOST_PROGRAM, host_program
from strixfleet.managed.things.file import File


ONE, TWO, THREE = (f"b{n}-cpu-0000000{n}" for n in (1, 2, 3))


def add_build(root: Path, name: str) -> Path:
    folder = root / "opt/strixfleet/llama.cpp" / name
    (folder / "bin").mkdir(parents=True)
    (folder / "lib").mkdir()
    (folder / "bin/llama-server").write_text(name, encoding="ascii")
    (folder / "lib/libx.so").symlink_to("libx.so.0")
    digest = hashlib.sha256(name.encode()).hexdigest()
    files = {"bin/llama-server": digest, "lib/libx.so": "-> libx.so.0"}
    (folder / "manifest.json").write_text(json.dumps({"id": name, "files": files}), encoding="ascii")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (ONE, TWO, THREE):
        add_build(tmp_path, name)
    return tmp_path


def program(root: Path) -> list[str]:
    """Install the program below a root, and return the command that runs it there."""
    for file in (thing for thing in host_program() if isinstance(thing, File)):
        path = root / file.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content, encoding="utf-8")
    return [sys.executable, "-S", "-B", str(root / HOST_PROGRAM.lstrip("/")), "--root", str(root)]


def run(root: Path, *arguments: str) -> dict[str, Any]:
    done = subprocess.run([*program(root), *arguments], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (1 if found["error"] else 0)
    return found


def links(root: Path) -> tuple[str | None, str | None]:
    found = run(root, "status")
    return found["current"], found["previous"]


def test_a_bare_host_has_nothing(tmp_path: Path) -> None:
    assert links(tmp_path) == (None, None)
    assert run(tmp_path, "status")["builds"] == []


def test_the_first_build_has_nothing_before_it(root: Path) -> None:
    assert run(root, "activate", ONE)["changed"]
    assert links(root) == (ONE, None)


def test_the_build_before_is_remembered(root: Path) -> None:
    for build in (ONE, TWO, THREE):
        run(root, "activate", build)
    assert links(root) == (THREE, TWO)


def test_a_second_time_changes_nothing(root: Path) -> None:
    run(root, "activate", ONE)
    run(root, "activate", TWO)
    assert not run(root, "activate", TWO)["changed"]
    assert links(root) == (TWO, ONE)


def test_an_unexpected_current_build_is_left_alone(root: Path) -> None:
    run(root, "activate", ONE, "--expect", "none")
    assert "current is" in run(root, "activate", TWO, "--expect", "none")["error"]
    assert links(root) == (ONE, None)
    assert run(root, "activate", TWO, "--expect", ONE)["changed"]


@pytest.mark.parametrize("harm", ["byte", "link", "missing", "manifest", "foreign manifest"])
def test_an_altered_build_is_refused(root: Path, harm: str) -> None:
    run(root, "activate", ONE)
    folder = root / "opt/strixfleet/llama.cpp" / TWO
    if harm == "byte":
        (folder / "bin/llama-server").write_text("x", encoding="ascii")
    elif harm == "link":
        (folder / "lib/libx.so").unlink()
        (folder / "lib/libx.so").symlink_to("/etc/passwd")
    elif harm == "missing":
        (folder / "bin/llama-server").unlink()
    elif harm == "manifest":
        (folder / "manifest.json").write_text("{", encoding="ascii")
    else:
        (folder / "manifest.json").write_bytes((folder.parent / ONE / "manifest.json").read_bytes())
    assert run(root, "activate", TWO)["error"]
    assert links(root) == (ONE, None)


@pytest.mark.parametrize("name", ["../../etc", "b9-cpu-99999999", "current", ".b1-cpu-00000001.partial", ""])
def test_what_is_no_build_is_refused(root: Path, name: str) -> None:
    assert run(root, "activate", name)["error"]
    assert links(root) == (None, None)


def test_a_switch_cut_in_the_middle_ends_the_same_way(root: Path) -> None:
    run(root, "activate", ONE)
    run(root, "activate", TWO)
    builds = root / "opt/strixfleet/llama.cpp"
    (builds / "previous").unlink()
    (builds / "previous").symlink_to(TWO)  # cut after `previous`, before `current`
    (builds / ".current.new").symlink_to(ONE)
    run(root, "activate", THREE)
    assert links(root) == (THREE, TWO)
    assert not (builds / ".current.new").is_symlink()


def test_of_two_at_once_one_goes_first(root: Path) -> None:
    argv = program(root)
    both = [
        subprocess.Popen([*argv, "activate", build, "--expect", "none"], stdout=subprocess.PIPE)
        for build in (ONE, TWO)
    ]
    answers = [json.loads(one.communicate()[0]) for one in both]
    assert sorted(bool(answer["error"]) for answer in answers) == [False, True]
    assert links(root)[1] is None
