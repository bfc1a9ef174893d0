"""Broken inventories: every mistake is reported, with its file, its line and what to do."""

import re
from pathlib import Path

import pytest

from strixfleet.errors import InventoryError, Mistake, UsageError
from strixfleet.inventory.load import examine, load
from strixfleet.inventory.request import InventoryRequest
from tests.cases.inventory_cases import inventory_cases
from tests.cases.record_expected import record_inventory_case


CASES = inventory_cases()
HERE = InventoryRequest((".",))
LINE = re.compile(r"(warning: )?(hosts|[\w./]+\.(yml|yaml|ini)):[0-9]+: .+; hint: .+")


@pytest.mark.parametrize("name", CASES)
def test_case(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Every line is as expected; it names file, line and remedy, and that line of the file holds the key."""
    case = CASES[name]
    case.write(tmp_path)
    monkeypatch.chdir(tmp_path)

    mistakes = examined()

    lines = [f"{'warning: ' if mistake.warning else ''}{mistake}" for mistake in mistakes]
    if request.config.getoption("--record-expected"):
        record_inventory_case(name, lines)
    else:
        assert lines == case.expected
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    assert case.line_without_key or [one for one in mistakes if not shows_its_key(one)] == []


def examined() -> tuple[Mistake, ...]:
    loaded = examine(HERE)
    assert loaded.fleet is None, "the inventory was accepted"
    return loaded.mistakes


def shows_its_key(mistake: Mistake) -> bool:
    """Tell whether the reported line holds the last key of the field; what is missing has no line."""
    absent = "missing" in mistake.message or "has no" in mistake.message or mistake.field.endswith("]")
    if not mistake.field or absent or "vault" in mistake.file:
        return True
    line = Path(mistake.file).read_text().splitlines()[mistake.line - 1]
    return key_of(mistake.field) in line


def key_of(field: str) -> str:
    """Return the last key of a field, without list indices; a kernel argument may hold dots itself."""
    if field.startswith("kernel_arguments."):
        return field.removeprefix("kernel_arguments.")
    return re.sub(r"\[\d+\]", "", field).split(".")[-1]


def test_an_inventory_without_hosts_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hosts.yml").write_text("all:\n  hosts: {}\n")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UsageError, match="the inventory has no hosts; hint: add hosts"):
        examine(HERE)


def test_load_raises_all_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES["several_mistakes_at_once"]
    case.write(tmp_path)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(InventoryError) as caught:
        load(HERE)

    assert [str(mistake) for mistake in caught.value.mistakes] == case.expected
