"""Read the broken inventories of inventory.yml; README.md says how a case is written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


TABLE = Path(__file__).with_name("inventory.yml")
VARIABLES = "group_vars/all.yml"


@dataclass(frozen=True, slots=True)
class InventoryCase:
    """One inventory with mistakes, and every line that is said about it."""

    files: dict[str, str]
    expected: list[str]
    line_without_key: str = ""  # why the line of a mistake does not show its key

    def write(self, folder: Path) -> None:
        """Write the inventory into an empty folder."""
        for name, text in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def inventory_cases() -> dict[str, InventoryCase]:
    """Return all cases by name; a file that is null in a case is left out of its inventory."""
    table = yaml.safe_load(TABLE.read_text())

    base = table["base"]

    def files(case: dict[str, Any]) -> dict[str, str]:
        added = {VARIABLES: base[VARIABLES] + case.get("added", "")}
        merged = {**base, **added, **case.get("files", {})}
        return {name: text for name, text in merged.items() if text is not None}

    return {
        name: InventoryCase(files(case), case["expected"], case.get("line_without_key", ""))
        for name, case in table["cases"].items()
    }
