"""A split model is whole and in order: llama-server is given the first part and finds the others by name."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from strixfleet.inventory.schema.field_types import quoted, refusal


PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf\Z")  # llama.cpp's llama_split_path


@dataclass(frozen=True, slots=True)
class SplitName:
    """What the name of a part says."""

    stem: str
    number: int
    count: int

    @classmethod
    def of(cls, name: str) -> "SplitName | None":
        """Read a file name; None where it is not that of a part."""
        found = PART.fullmatch(name)
        return cls(found[1], int(found[2]), int(found[3])) if found else None


def check_single(name: str, key: str) -> None:
    """Refuse a model whose only file is one part of several."""
    part = SplitName.of(name)
    if part is None or part.count <= 1:
        return
    missing = _listed(number for number in range(1, part.count + 1) if number != part.number)
    raise refusal(
        "split",
        f"`{key}` is part {part.number} of a model in {part.count} files; {missing} missing",
        f"list all {part.count} under `files`, in order, each with its sha256",
    )


def check_parts(names: Sequence[str]) -> None:
    """Refuse files that are not all parts of one model, in order."""
    parts = [part for part in map(SplitName.of, names) if part]
    if len(names) == 1 and not parts:
        return
    if len(parts) < len(names):
        odd = next(name for name in names if SplitName.of(name) is None)
        raise refusal(
            "split",
            f"has {quoted(odd)}, whose name does not tell which part it is",
            "llama-server looks for names like big-00001-of-00003.gguf: give each file such a `name`",
        )
    sets = dict.fromkeys((part.stem, part.count) for part in parts)
    if len(sets) > 1:
        found = " and ".join(f"{stem} of {count}" for stem, count in sets)
        raise refusal("split", f"has parts of several models ({found})", "list the parts of one model")
    numbers, count = [part.number for part in parts], parts[0].count
    missing = [number for number in range(1, count + 1) if number not in numbers]
    if missing:
        raise refusal(
            "split",
            f"lacks parts of {count}: {_listed(missing)} missing",
            f"list all {count} under `files`, in order, each with its sha256",
        )
    if numbers != sorted(numbers):
        raise refusal(
            "split",
            f"has the parts in the order {', '.join(map(str, numbers))}",
            "list them in order: llama-server is given the first and finds the others",
        )


def _listed(numbers: Iterable[int]) -> str:
    """Write `part 2 is` or `parts 2 and 3 are`."""
    *first, last = map(str, numbers)
    if not first:
        return f"part {last} is"
    return f"parts {', '.join(first)} and {last} are"
