"""A case is a folder: what the inventory says, what the host answered, what the audit must find."""

import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from strixfleet.findings.items import Status
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.compiled import ASPECTS, compile_host
from strixfleet.managed.facts import ControllerFacts
from strixfleet.on_host.questions import Answers
from tests.fixtures.repository_key import ARMOURED


CASES = Path(__file__).with_name("aspects")
SHIPPED = re.compile("@sha256 ([a-z0-9_/.-]+)@")  # of a program that is copied to hosts
FOLDERS = sorted(path.parent for path in CASES.glob("*/*/expected.json"))


def shipped_digest(found: re.Match[str]) -> str:
    """Return the digest of a file of the package, so that a case outlives its changes."""
    return hashlib.sha256(files("strixfleet").joinpath(found[1]).read_bytes()).hexdigest()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_case(folder: Path) -> None:
    """The items of the case's aspect are found as expected, each key that the expectation names."""
    settings = HostSettings.model_validate(yaml.safe_load((folder / "settings.yml").read_text()) or {})
    answers = Answers.from_json(
        json.loads(SHIPPED.sub(shipped_digest, (folder / "answers.json").read_text()))
    )
    controller = ControllerFacts(ARMOURED if settings.tailscale_repository_key else "")
    state = compile_host(Host("case", Connection("127.0.0.1"), settings), answers, controller)
    aspect = folder.parent.name
    found = {row.id: row.to_json() for row in state.differences(answers) if row.id.startswith(f"{aspect}:")}

    expected = json.loads((folder / "expected.json").read_text())

    assert {row["id"] for row in expected} <= found.keys()
    for row in expected:
        assert row == {key: found[row["id"]][key] for key in row}
    named = {row["id"] for row in expected}
    others = {key: row["status"] for key, row in found.items() if key not in named}
    assert set(others.values()) <= {Status.OK.value}, others


@pytest.mark.parametrize("aspect", [aspect.name for aspect in ASPECTS])
@pytest.mark.parametrize("kind", ["in_sync", "drifted", "unknown"])
def test_every_aspect_has_the_three_cases(aspect: str, kind: str) -> None:
    assert (CASES / aspect / kind / "expected.json").is_file(), f"add tests/cases/aspects/{aspect}/{kind}/"
