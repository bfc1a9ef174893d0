"""
Which builds of llama.cpp are known to be bad, and which is the nearest good one.

A build is meant by its number, as in the tag b10991. Each row of the table has a source.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator


ITEM = "llama_cpp:defect."  # of an audit, and of a waiver, followed by the defect's id
Text = Annotated[str, Field(min_length=8)]
Source = Annotated[str, Field(pattern=r"\Ahttps://\S+\z")]
Build = Annotated[int, Field(gt=0)]


@dataclass(frozen=True, slots=True)
class Use:
    """What a host does with a build; `options` are those that its servers are given."""

    backend: str
    gpu: str | None = None
    options: frozenset[str] = frozenset()


class Effect(StrEnum):
    """What a defect does; the first two keep a build from being pinned."""

    WRONG_OUTPUT = "wrong_output"
    SECURITY = "security"
    LOUD = "loud"
    SLOW = "slow"


REFUSED = frozenset({Effect.WRONG_OUTPUT, Effect.SECURITY})


class Defect(BaseModel):
    """One row of the table; known_defects.yml says what its fields mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"\A[a-z0-9]+(-[a-z0-9]+)*\z")]
    effect: Effect
    what: Text
    backends: tuple[Literal["vulkan", "rocm", "cpu"], ...]
    gpus: tuple[Annotated[str, Field(pattern=r"\Agfx[0-9a-f]+\z")], ...]
    option: Annotated[str, Field(pattern=r"\A[a-z0-9-]+\z")] | None
    first_bad: Annotated[Build, Field(strict=True)] | None
    first_good: Annotated[Build, Field(strict=True)] | None
    uncertain: Text | None
    cure: Text | None
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _range_has_builds(self) -> Self:
        if self.first_bad is not None and self.first_good is not None and self.first_bad >= self.first_good:
            raise ValueError("first_bad is not before first_good")
        return self

    @property
    def refuses(self) -> bool:
        """Tell whether a build that has it is not to be pinned."""
        return self.effect in REFUSED

    @property
    def item(self) -> str:
        """Return the id of the audit's item, which a waiver names."""
        return f"{ITEM}{self.id}"

    def concerns(self, use: "Use") -> bool:
        """Tell whether a host can have it; a GPU that is not known has none of a GPU's own."""
        return (
            (not self.backends or use.backend in self.backends)
            and (not self.gpus or use.gpu in self.gpus)
            and (self.option is None or self.option in use.options)
        )

    def is_in(self, build: int) -> bool:
        """Tell whether a build has it."""
        return (self.first_bad or 0) <= build and (self.first_good is None or build < self.first_good)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The defects of a build on a host, those that refuse it first, and the nearest build without such."""

    build: int
    defects: tuple[Defect, ...]
    nearest_good: int | None

    def sentence(self, defect: Defect, name: str) -> str:
        """Say what is wrong with a build, and where that is published."""
        return f"{name} {defect.what} ({defect.sources[0]})"

    def remedy(self, defect: Defect) -> str:
        """Say what to pin instead, or what else helps."""
        other = self.nearest_good if defect.refuses else defect.first_good
        parts = [f"pin b{other}"] if other is not None else []
        if defect.cure:
            parts.append(f"or {defect.cure}" if parts else defect.cure)
        if defect.refuses:
            parts.append(f"or accept it by an entry of audit_waivers for {defect.item}")
        return ", ".join(parts)


def judge(build: int, use: Use, table: Iterable[Defect] | None = None) -> Judgement:
    """Return what is known against a build on a host."""
    rows = [one for one in (known_defects() if table is None else table) if one.concerns(use)]
    found = sorted((one for one in rows if one.is_in(build)), key=lambda one: not one.refuses)
    return Judgement(build, tuple(found), _nearest_good(build, [one for one in rows if one.refuses]))


def _nearest_good(build: int, rows: list[Defect]) -> int | None:
    """Return the build itself, else the first newer one that no row has, else the last older one."""

    def is_good(number: int) -> bool:
        return not any(one.is_in(number) for one in rows)

    if is_good(build):
        return build
    newer = sorted(one.first_good for one in rows if one.first_good is not None and one.first_good > build)
    older = sorted((one.first_bad - 1 for one in rows if one.first_bad is not None), reverse=True)
    return next(filter(is_good, (*newer, *(number for number in older if 0 < number < build))), None)


def tagged_build(ref: str | None) -> int | None:
    """Return the number of a build's tag such as b10991; None where the ref does not tell."""
    found = re.fullmatch(r"b([0-9]{1,9})", ref or "")
    return int(found[1]) if found else None


def read_table(text: str) -> tuple[Defect, ...]:
    """Read a table of defects; raise ValueError, with the row, where it is not in order."""
    try:
        rows = TypeAdapter(tuple[Defect, ...]).validate_python(yaml.safe_load(text))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"known_defects.yml: row {place}: {first['msg']}") from None
    ids = [row.id for row in rows]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise ValueError(f"known_defects.yml: {', '.join(twice)} is there twice")
    return rows


@cache
def known_defects() -> tuple[Defect, ...]:
    """Return the table of this version."""
    return read_table((files("strixfleet.inventory") / "known_defects.yml").read_text(encoding="utf-8"))
