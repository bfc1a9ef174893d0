"""What a user gets by `pip install`: an empty environment, then a starter inventory that validates."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT


pytestmark = pytest.mark.slow


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
