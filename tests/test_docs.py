"""The pages name what exists, and the worked example of CONTRIBUTING works."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.fixtures.example_checkout import PATCH, example_checkout


PAGES = ("CONTRIBUTING.md", "README.md", "docs/architecture.md", "docs/upgrade.md")
ROOMS = ROOT / "src/strixfleet"
# A path of the repository: from its root, or from the rooms. A placeholder such as <aspect> ends the name.
NAMED = re.compile(r"[`(]((?:[\w.@-]+/)+[\w.@-]*|[\w-]+\.(?:py|md|yml|cfg|toml|lock))(?=[`)<*{#])")
MOST_FILES, MOST_LINES = 5, 150


def paths_named_in(page: str) -> set[str]:
    return set(NAMED.findall((ROOT / page).read_text()))


def exists(path: str, page: str) -> bool:
    """Tell whether a path is one of the repository, of the rooms, or beside the page."""
    return any((folder / path).exists() for folder in (ROOT, ROOMS, (ROOT / page).parent))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_what_exists(page: str) -> None:
    assert {path for path in paths_named_in(page) if not exists(path, page)} == set()


def test_the_pages_name_paths() -> None:
    """What the pattern does not see is not checked."""
    assert {"managed/things/thing.py", "plugins/action/apply.py"} <= paths_named_in("docs/architecture.md")
    assert {"docs/examples/new-setting.patch", "tests/cases/README.md"} <= paths_named_in("CONTRIBUTING.md")


def test_the_example_is_small() -> None:
    """What `make docs` writes is not part of it; its tests do not count."""
    counts = subprocess.check_output(["git", "apply", "--numstat", str(PATCH)], text=True)
    rows = [line.split("\t") for line in counts.splitlines()]
    counted = {path: int(added) for added, _, path in rows if not path.startswith("tests/")}

    assert counted
    assert len(counted) <= MOST_FILES
    assert sum(counted.values()) <= MOST_LINES


def test_the_example_applies_and_its_case_holds(tmp_path: Path) -> None:
    """After a change nearby: apply it by `patch -p1`, put it right, and write `git diff` into it again."""
    copy = example_checkout(tmp_path)
    case = copy.run("python", "-m", "pytest", "tests/cases/test_aspects.py", "-k", "swappiness", "-v")
    docs = copy.run("python", "scripts/docs", "--check")

    assert "1 passed" in case.stdout, case.stdout + case.stderr
    assert docs.returncode == 0, docs.stdout
    assert "`tuning_swappiness`" in (tmp_path / "docs/inventory.md").read_text()
    assert "tuning_swappiness:" in (tmp_path / "roles/tuning/meta/argument_specs.yml").read_text()
