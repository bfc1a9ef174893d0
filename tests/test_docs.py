"""The pages name what exists, and the worked example of CONTRIBUTING works."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from strixfleet.findings.items import Status
from strixfleet.on_host.questions import Answer, Answers
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


def blocks_of(page: str, word: str) -> dict[str, Any]:
    """Run the Python of a page that has a word in it; return the names that it defines."""
    found = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    names: dict[str, Any] = {"__name__": "example"}
    for block in found:
        if word in block:
            exec(block, names)  # noqa: S102 - our own page
    return names


def test_the_kind_of_thing_in_contributing_reads_and_does() -> None:
    names = blocks_of("CONTRIBUTING.md", "ostname")
    thing = names["Hostname"](id="names:hostname", name="halo-1")
    answers = Answers({question: Answer("halo-2\n") for question in thing.asks()})
    deeds = {deed.kind: [deed.arguments] for deed in thing.deeds(answers)}

    row = thing.compare(answers)
    assert (row.status, row.want, row.have) == (Status.DRIFT, "halo-1", "halo-2")
    assert [*names["hostname_calls"](deeds)] == [("ansible.builtin.hostname", {"name": "halo-1"})]


def test_the_verb_in_contributing_runs(tmp_path: Path) -> None:
    verb = blocks_of("CONTRIBUTING.md", "kernels")["kernels"]
    inventory = tmp_path / "hosts.yml"
    variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory.write_text(json.dumps({"all": {"hosts": {"here": variables}}}))
    done = CliRunner().invoke(verb, ["-i", str(inventory), "--json"])

    assert json.loads(done.stdout)["hosts"]["here"]["kernel"] == os.uname().release, done.output
