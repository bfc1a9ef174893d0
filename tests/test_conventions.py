"""One place for each thing: what a new aspect still lacks fails here by name."""

import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from strixfleet.cli import VERBS
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.compiled import ASPECTS
from tests.conftest import ROOT


TRAVELLERS = {"ask.py", "strixfleet_host.py"}  # one file each: they run on hosts
NAMES = [*ASPECTS]


def _role(name: str, *parts: str) -> Path:
    return ROOT.joinpath("roles", name, *parts)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "part", ["README.md", "meta/main.yml", "meta/argument_specs.yml", "tasks/main.yml", "vars/main.yml"]
)
def test_role_is_complete(name: str, part: str) -> None:
    assert _role(name, part).is_file()


@pytest.mark.parametrize("name", NAMES)
def test_a_role_documents_the_variables_of_the_inventory(name: str) -> None:
    """An operator of the role alone finds `kernel_gtt_gib`, not what the compiler hands on."""
    specs = yaml.safe_load(_role(name, "meta/argument_specs.yml").read_text())
    options = specs["argument_specs"]["main"]["options"]
    own = {field for field in HostSettings.model_fields if field.startswith(name)}

    assert own <= options.keys() <= HostSettings.model_fields.keys()


@pytest.mark.parametrize("name", NAMES)
def test_role_has_a_molecule_scenario(name: str) -> None:
    assert (ROOT / "extensions/molecule" / name / "molecule.yml").is_file()


WITHOUT_FLUSH = {"copy", "template", "lineinfile", "blockinfile", "replace", "assemble", "get_url"}


@pytest.mark.parametrize("folder", ["roles", "playbooks"])
def test_no_task_writes_a_file_that_a_power_cut_may_leave_empty(folder: str) -> None:
    """Ansible's own modules do not flush to the disk; `strixfleet.fleet.paths` does."""
    writers = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted(ROOT.joinpath(folder).rglob("*.yml"))
        for name in WITHOUT_FLUSH
        if f"ansible.builtin.{name}:" in path.read_text()
    ]
    assert writers == []


def test_roles_are_applied_in_the_order_of_aspects() -> None:
    assert list(_roles(ROOT / "playbooks/provision.yml")) == [f"strixfleet.fleet.{name}" for name in NAMES]


def _roles(path: Path) -> Iterator[str]:
    """Return the roles that a playbook imports, also by its files of tasks, in order."""
    for entry in yaml.safe_load(path.read_text()):
        for task in entry.get("tasks", [entry]):
            if "ansible.builtin.import_tasks" in task:
                yield from _roles(path.parent / task["ansible.builtin.import_tasks"])
            elif "ansible.builtin.import_role" in task:
                yield task["ansible.builtin.import_role"]["name"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_there(verb: str) -> None:
    from strixfleet.cli import Verbs, strixfleet

    assert isinstance(strixfleet, Verbs)
    command = strixfleet.get_command(None, verb)  # type: ignore[arg-type] # the context is not looked at

    assert command is not None
    assert command.help


def test_unit_tests_mirror_the_source() -> None:
    """tests/unit/<room> tests src/strixfleet/<room>."""
    unit = ROOT / "tests/unit"
    rooms = {path.parent.relative_to(unit) for path in unit.rglob("test_*.py")}

    assert {room for room in rooms if not (ROOT / "src/strixfleet" / room).is_dir()} == set()


def test_pytest_passes_over_no_folder_of_tests(pytestconfig: pytest.Config) -> None:
    """A folder named `build` or `dist` is left out without a word."""
    patterns = pytestconfig.getini("norecursedirs")
    folders = {part for path in (ROOT / "tests").rglob("test_*.py") for part in path.relative_to(ROOT).parts}

    assert {name for name in folders for one in patterns if fnmatch(name, one)} == set()


def test_no_module_is_about_everything() -> None:
    long = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "src").rglob("*.py")
        if len(path.read_text().splitlines()) > 350 and path.name not in TRAVELLERS
    ]

    assert long == []


def test_nobody_accepts_any_host_key() -> None:
    """No AutoAddPolicy and no StrictHostKeyChecking=no anywhere."""
    suspects = [
        str(path.relative_to(ROOT))
        for folder in ("src", "plugins", "roles", "playbooks", "templates")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and path.suffix in {".py", ".yml", ".j2", ".cfg"}
        and any(word in path.read_text() for word in ("AutoAddPolicy()", "StrictHostKeyChecking=no"))
    ]

    assert suspects == []


def test_one_range_of_ansible_everywhere() -> None:
    """Our plugins use ansible-core's private API: the collection must not promise more than the package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(line) for line in project["dependencies"] if line.startswith("ansible-core")]
    parts = [part for one in wanted for part in one.specifier]
    lowest = min((part for part in parts if part.operator == ">="), key=lambda part: Version(part.version))
    limit = max((part for part in parts if part.operator == "<"), key=lambda part: Version(part.version))
    runtime = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())
    assert SpecifierSet(runtime["requires_ansible"]) == SpecifierSet(f"{lowest},{limit}")
