"""What only Ansible itself shows: that it packs our library with a module, and which Python a task runs."""

import grp
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


ME = {"owner": pwd.getpwuid(os.geteuid()).pw_name, "group": grp.getgrgid(os.getegid()).gr_name}
ANSIBLE = str(Path(sys.executable).with_name("ansible"))


@pytest.fixture
def interpreter(tmp_path: Path) -> Path:
    """Return an interpreter that notes what it was started with."""
    path = tmp_path / "python-of-the-inventory"
    path.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/started\nexec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return path


def ansible(folder: Path, interpreter: Path, *words: str, collections: Path = ROOT) -> str:
    settings = {"ANSIBLE_COLLECTIONS_PATH": str(collections), "ANSIBLE_HOME": str(folder / "home")}
    argv = [ANSIBLE, "localhost", "-c", "local", "-e", f"ansible_python_interpreter={interpreter}", *words]
    done = subprocess.run(
        argv, cwd=folder, env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def folders(path: Path) -> str:
    return json.dumps({"folders": [{"path": str(path), **ME}]})


def test_a_module_travels_with_the_library_that_it_imports(tmp_path: Path, interpreter: Path) -> None:
    answer = ansible(tmp_path, interpreter, "-m", "strixfleet.fleet.paths", "-a", folders(tmp_path / "a/b"))
    assert '"changed": true' in answer
    assert (tmp_path / "a/b").is_dir()


def test_a_play_probes_with_the_interpreter_of_the_inventory(tmp_path: Path, interpreter: Path) -> None:
    answer = ansible(tmp_path, interpreter, "-m", "strixfleet.fleet.compile")
    assert "localhost | SUCCESS" in answer
    assert '"deeds"' not in answer, "what was compiled holds secrets"
    assert (tmp_path / "started").read_text() == "-I\n"


def test_a_collection_that_was_built_and_installed_has_the_library(tmp_path: Path, interpreter: Path) -> None:
    galaxy = [str(Path(ANSIBLE).with_name("ansible-galaxy")), "collection"]
    environment = {**os.environ, "ANSIBLE_HOME": str(tmp_path / "home")}
    for words in (
        ["build", "--output-path", str(tmp_path), str(ROOT)],
        ["install", "--offline", "--force", "-p", str(tmp_path / "installed")],
    ):
        parcel = [str(path) for path in tmp_path.glob("*.tar.gz")]
        subprocess.run([*galaxy, *words, *parcel], env=environment, cwd=tmp_path, check=True)
    words = ["-m", "strixfleet.fleet.paths", "-a", folders(tmp_path / "c")]
    assert '"changed": true' in ansible(tmp_path, interpreter, *words, collections=tmp_path / "installed")
