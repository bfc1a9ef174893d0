"""Read the published measurements that are part of the package."""

import csv
from functools import cache
from importlib.resources import files

from strixfleet.speed.expect.references import Family, Library, Reference


@cache
def library() -> Library:
    """Return families and references, about a hundred rows."""
    return Library(
        families=tuple(
            Family(row["family"], *(int(row[key]) for key in ("layers", "width", "experts", "parameters")))
            for row in _rows("families.csv")
        ),
        references=tuple(
            Reference(
                backend=row["backend"],
                family=row["family"],
                quant=row["quant"],
                size_bytes=int(row["size_bytes"]),
                runs=int(row["runs"]),
                tps=float(row["tps"]),
                formula_tps=float(row["formula_tps"]),
                mix_known=row["mix_known"] == "1",
                source=row["source"],
            )
            for row in _rows("references.csv")
        ),
    )


def _rows(name: str) -> list[dict[str, str]]:
    text = (files("strixfleet.speed.expect") / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
