"""One place for each thing: what a new aspect still lacks fails here by name."""

import json
from pathlib import Path

import pytest
import yaml

from strixfleet.cli import VERBS
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.aspect import Aspect
from strixfleet.managed.compiled import ASPECTS, compile_host
from strixfleet.on_host.questions import Answers
from tests.conftest import ROOT


TRAVELLERS = {"ask.py", "strixfleet_host.py"}  # one file each: they run on hosts
NAMES = [aspect.name for aspect in ASPECTS]


def _role(name: str, *parts: str) -> Path:
    return ROOT.joinpath("roles", name, *parts)


def _in_sync(aspect: type[Aspect]) -> dict[str, object]:
    folder = ROOT / "tests/cases/aspects" / aspect.name / "in_sync"
    settings = HostSettings.model_validate(yaml.safe_load((folder / "settings.yml").read_text()) or {})
    answers = Answers.from_json(json.loads((folder / "answers.json").read_text()))
    state = compile_host(Host("case", Connection("127.0.0.1"), settings), answers)
    return dict(state.role_vars()[aspect.name])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "part",
    ["README.md", "defaults/main.yml", "meta/main.yml", "meta/argument_specs.yml", "tasks/main.yml"],
)
def test_role_is_complete(name: str, part: str) -> None:
    assert _role(name, part).is_file()


@pytest.mark.parametrize("aspect", ASPECTS, ids=NAMES)
def test_role_variables_are_stated_alike(aspect: type[Aspect]) -> None:
    """Keys of role_vars(), defaults and argument_specs are the same."""
    defaults = yaml.safe_load(_role(aspect.name, "defaults/main.yml").read_text())
    specs = yaml.safe_load(_role(aspect.name, "meta/argument_specs.yml").read_text())

    options = set(specs["argument_specs"]["main"]["options"])

    assert set(_in_sync(aspect)) == set(defaults) == options
    assert all(key.startswith(f"{aspect.name}_") for key in options)


@pytest.mark.parametrize("name", NAMES)
def test_role_has_a_molecule_scenario(name: str) -> None:
    assert (ROOT / "extensions/molecule" / name / "molecule.yml").is_file()


def test_roles_are_applied_in_the_order_of_aspects() -> None:
    plays = yaml.safe_load((ROOT / "playbooks/provision.yml").read_text())
    tasks = [task for play in plays for task in play.get("tasks", [])]

    roles = [
        task["ansible.builtin.import_role"]["name"] for task in tasks if "ansible.builtin.import_role" in task
    ]

    assert roles == [f"strixfleet.fleet.{name}" for name in NAMES]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_there(verb: str) -> None:
    from strixfleet.cli import Verbs, strixfleet

    assert isinstance(strixfleet, Verbs)
    command = strixfleet.get_command(None, verb)  # type: ignore[arg-type] # the context is not looked at

    assert command is not None
    assert command.help


def test_no_module_is_too_long() -> None:
    long = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "src").rglob("*.py")
        if len(path.read_text().splitlines()) > 255 and path.name not in TRAVELLERS
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
