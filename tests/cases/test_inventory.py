"""Broken inventories: each folder in cases/ holds one and, in expected.txt, all that is said about it."""

import re
from pathlib import Path

import pytest

from strixfleet.errors import InventoryError, UsageError
from strixfleet.inventory.load import examine, load
from strixfleet.inventory.request import InventoryRequest


CASES = sorted(path for path in (Path(__file__).parent / "inventory").iterdir() if path.is_dir())
OTHER_LINES = {
    "arguments_as_a_list",  # a list begins below its key
    "instances_as_a_map",
    "hosts_as_a_list",
    "host_value_is_text",  # the host's own line
    "value_from_a_template",  # where the template's value stands
}
MISTAKE = re.compile(r"(warning: )?(hosts|[\w./]+\.(yml|yaml|ini)):[0-9]+: .+; hint: .+")


def lines_of(folder: Path) -> list[str]:
    try:
        loaded = examine(InventoryRequest((".",)))
    except UsageError as error:
        return [str(error)]
    assert loaded.fleet is None, f"{folder.name} was accepted"
    return [f"{'warning: ' if mistake.warning else ''}{mistake}" for mistake in loaded.mistakes]


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 80


@pytest.mark.parametrize("folder", CASES, ids=lambda path: path.name)
def test_every_mistake_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    have = lines_of(folder)
    assert have == (folder / "expected.txt").read_text().splitlines()


@pytest.mark.parametrize("folder", CASES, ids=lambda path: path.name)
def test_each_line_names_file_line_and_remedy(folder: Path) -> None:
    if folder.name == "no_hosts":
        return  # there is no line to name
    for line in (folder / "expected.txt").read_text().splitlines():
        assert MISTAKE.fullmatch(line), line


def test_load_raises_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent / "inventory" / "several_mistakes_at_once")
    with pytest.raises(InventoryError) as caught:
        load(InventoryRequest((".",)))
    assert len(caught.value.mistakes) == 6


def key_of(field: str) -> str:
    """Return the last key of a field, without list indices."""
    return (
        re.sub(r"\[\d+\]", "", field).split(".")[-1]
        if not field.startswith("kernel_arguments.")
        else field[17:]
    )


@pytest.mark.parametrize("folder", CASES, ids=lambda path: path.name)
def test_the_line_holds_the_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold each reported line against the file: it has to name the last key of the field."""
    monkeypatch.chdir(folder)
    try:
        mistakes = examine(InventoryRequest((".",))).mistakes
    except UsageError:
        return
    for mistake in mistakes:
        absent = "missing" in mistake.message or "has no" in mistake.message or mistake.field.endswith("]")
        if not mistake.field or absent or "vault" in mistake.file or folder.name in OTHER_LINES:
            continue
        text = Path(mistake.file).read_text().splitlines()[mistake.line - 1]
        assert key_of(mistake.field) in text, f"{mistake}\nline: {text}"
