"""Rewrite what cases expect from what the code finds now; `git diff` is the review of it."""

import re
from pathlib import Path

import yaml

from strixfleet.findings.items import Status
from tests.cases.aspect_cases import Row, load_case
from tests.cases.inventory_cases import TABLE


DIGEST = re.compile("[0-9a-f]{64}")
EXPECTED = re.compile("^expected:", re.MULTILINE)  # the last key of a case


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as it stands, and never a reference."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 # PyYAML's name
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def record_expected(path: Path, prefix: str) -> None:
    """Bring a case up to date: first the digests of files that we render, then its expected rows."""
    record_digests(path, prefix)
    case = load_case(path)
    found = case.rows(prefix)
    kept = {
        key: {name: found[key][name] for name in row} for key, row in case.expected.items() if key in found
    }
    new = {
        key: {name: value for name, value in row.items() if name != "id" and value != ""}
        for key, row in found.items()
        if key not in kept and row["status"] != Status.OK
    }
    head, _ = EXPECTED.split(path.read_text(), maxsplit=1)
    path.write_text(head + _dump({"expected": kept | new}))


def record_digests(path: Path, prefix: str = "") -> None:
    """Replace, in a host's answers, the digest of a file that should be in order by what we render now."""
    case = load_case(path)
    text = path.read_text()
    for key, row in case.rows(prefix).items():
        if case.expected.get(key, {}).get("status", Status.OK) == Status.OK:
            for have, want in _stale_digests(row):
                text = text.replace(have, want)
    path.write_text(text)


def record_inventory_case(name: str, lines: list[str]) -> None:
    """Replace the lines that a broken inventory is expected to give."""
    table = yaml.safe_load(TABLE.read_text())
    table["cases"][name]["expected"] = lines
    comment = "".join(line for line in TABLE.read_text().splitlines(True) if line.startswith(("# ", "---")))
    TABLE.write_text(comment + _dump(table))


def _stale_digests(row: Row) -> list[tuple[str, str]]:
    want, have = row["want"], row["have"]
    if not isinstance(want, dict) or not isinstance(have, dict):
        return []
    pairs = [(str(have[key]), str(want[key])) for key in want.keys() & have.keys()]
    return [pair for pair in pairs if pair[0] != pair[1] and all(map(DIGEST.fullmatch, pair))]


def _dump(document: object) -> str:
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=10**6, allow_unicode=True)
    return text
