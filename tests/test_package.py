"""What a user gets by `pip install`: an empty environment, then a starter inventory that validates."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.conftest import ROOT


pytestmark = pytest.mark.slow
NEWER_LINES = ("2.20", "2.21")  # of ansible-core; the environment of these tests has the oldest, 2.19
NEWER_PYTHONS = ("python3.14", "python3.13", "python3.12")  # that they run on
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - strixfleet.fleet.compile:
      register: strixfleet_state
    - ansible.builtin.debug: {msg: "{{ strixfleet_state.deeds.keys() | join(' ') }}"}
"""
COLLECTIONS = "from strixfleet.tools.ansible_playbook import collections_path; print(collections_path())"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*argv, "--wheel-dir", str(folder), str(ROOT)], check=True, cwd=folder)
    return next(folder.glob("strixfleet-*.whl"))


def test_wheel_carries_playbooks_roles_templates_and_plugins(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())

    for folder in ("playbooks", "roles", "templates", "plugins", "inventory", "meta"):
        wanted = {
            f"strixfleet/_assets/{path.relative_to(ROOT)}"
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert wanted <= names
    library = {path.name for path in (ROOT / "src/strixfleet/on_host").glob("*.py")}
    assert {f"strixfleet/_assets/plugins/module_utils/on_host/{name}" for name in library} <= names


def test_init_and_validate_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    pins = tmp_path / "pins.txt"
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins.write_text("\n".join(line.removesuffix(" \\") for line in lines if line and line[0].isalpha()))
    pip = [str(environment / "bin/python"), "-m", "pip", "install", "--quiet", "-c", str(pins), str(wheel)]
    subprocess.run(pip, check=True, cwd=tmp_path)
    program = str(environment / "bin/strixfleet")

    made = subprocess.run(
        [program, "init", "fleet"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    valid = subprocess.run(
        [program, "validate", "-i", "fleet"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    again = subprocess.run(
        [program, "init", "fleet"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert made.returncode == 0, made.stderr
    assert valid.returncode == 0, valid.stdout + valid.stderr
    assert again.returncode == 2
    assert "Traceback" not in made.stderr + valid.stderr + again.stderr


def ansible_core() -> SpecifierSet:
    """Return the releases of ansible-core that the package takes, whatever the Python."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (found,) = (row for text in project["dependencies"] if (row := Requirement(text)).name == "ansible-core")
    assert found.marker is None
    return found.specifier


def test_package_and_collection_take_the_same_three_lines_of_ansible_core() -> None:
    collection = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["requires_ansible"]
    assert SpecifierSet(collection) == ansible_core()
    lines = [f"2.{minor}" for minor in range(15, 30) if f"2.{minor}.5" in ansible_core()]
    assert lines == ["2.19", *NEWER_LINES]


def newer_python() -> str | None:
    """Return a Python that starts: pyenv has stand-ins on PATH for those that it does not run."""
    found = (shutil.which(name) for name in NEWER_PYTHONS)
    starts = (
        path
        for path in found
        if path and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0
    )
    return next(starts, None)


@pytest.mark.parametrize("line", [pytest.param("2.20", marks=pytest.mark.soak), "2.21"])
def test_a_newer_line_of_ansible_core_validates_and_compiles(wheel: Path, tmp_path: Path, line: str) -> None:
    python = newer_python()
    if python is None:
        pytest.skip(f"ansible-core {line} runs on {NEWER_PYTHONS[-1]} or newer: none is here")
    programs = tmp_path / "venv" / "bin"

    def run(*argv: str | Path) -> str:
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(python, "-m", "venv", tmp_path / "venv")
    run(programs / "pip", "install", "--quiet", wheel, f"ansible-core=={line}.*")
    run(programs / "strixfleet", "init", "fleet")
    run(programs / "strixfleet", "validate", "-i", "fleet")
    (tmp_path / "play.yml").write_text(PLAY)
    words = ["-i", "here,", "-e", "ansible_connection=local llama_cpp_ref=b10991 hardware_profile=sandbox"]
    variables = f"ANSIBLE_COLLECTIONS_PATH={run(programs / 'python', '-c', COLLECTIONS).strip()}"
    said = run("env", "LC_ALL=C.UTF-8", variables, programs / "ansible-playbook", *words, "play.yml")
    assert "gpu_stack tuning kernel" in said
