"""The page of all variables, made from the models."""

from strixfleet import assets
from strixfleet.inventory.schema.reference_page import SUBJECTS, page
from strixfleet.inventory.schema.settings import FIELDS


def test_the_reference_is_current() -> None:
    have = (assets.root() / "docs" / "inventory.md").read_text()
    assert have == page(), "run: python -m strixfleet.inventory.schema.reference_page > docs/inventory.md"


def test_the_reference_has_every_variable() -> None:
    text = page()
    for name in FIELDS:
        assert f"| `{name}` |" in text
        assert name.startswith(tuple(SUBJECTS))
