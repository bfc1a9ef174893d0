"""The problems of one host's values: pydantic's errors and our own, in one form with a remedy."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from strixfleet.errors import Mistake, MistakeCode
from strixfleet.inventory.schema.field_types import quoted
from strixfleet.inventory.schema.fleet_model import Origin
from strixfleet.inventory.schema.parts import Instance, Model, ModelFile, SmokeBench, Waiver
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.inventory.schema.spelling import nearest


KEY_MAX_CHARS = 60
PARTS: Mapping[str, type[BaseModel]] = {
    "llama_models": Model,
    "llama_server_instances": Instance,
    "smoke_bench": SmokeBench,
    "audit_waivers": Waiver,
}
EXPECTED = {  # what to write, by the first word of pydantic's error types
    "int": ("a whole number", "write digits alone"),
    "float": ("a number", "write a number such as 0.1"),
    "bool": ("true or false", "write true or false"),
    "date": ("a date", 'write the day as "2027-03-31"'),
    "string": ("text", "write one line of text"),
    "model": ("a map of `name: value` lines", "look at docs/inventory.md for its keys"),
    "dict": ("a map of `name: value` lines", "look at docs/inventory.md for its keys"),
}
BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: the path of keys to it, what is wrong, and what to write."""

    path: tuple[str | int, ...]
    message: str
    hint: str
    warning: bool = False
    code: MistakeCode = MistakeCode.VALUE

    @property
    def keeps_out(self) -> bool:
        """Tell whether the host's settings cannot be used."""
        return self.at(Origin("", 0)).keeps_out

    def at(self, origin: Origin, host: str = "") -> Mistake:
        """Return this as a mistake of a host's inventory."""
        return Mistake(
            self.message, origin.file, origin.line, host, self.field, self.hint, self.warning, code=self.code
        )

    @property
    def field(self) -> str:
        """Return the path as `llama_models[0].sha256`."""
        text = ""
        for key in self.path:
            text += f"[{key}]" if isinstance(key, int) else f".{_shown(key)}" if text else _shown(key)
        return text


def _shown(key: str) -> str:
    text = key if key.isprintable() else ascii(key)
    return text if len(text) <= KEY_MAX_CHARS else f"{text[:KEY_MAX_CHARS]}…"


def from_validation(error: ValidationError) -> tuple[Problem, ...]:
    """Turn pydantic's errors into problems."""
    return tuple(_problem(item) for item in error.errors(include_url=False, include_input=True))


def _problem(error: Mapping[str, Any]) -> Problem:
    path: tuple[str | int, ...] = tuple(error["loc"])
    kind, context = str(error["type"]), error.get("ctx") or {}
    if kind == "strixfleet":
        return Problem(path, context["text"], context["hint"])
    if kind == "missing":
        return Problem(path[:-1], f"has no `{path[-1]}`", _describe(path))
    if kind == "extra_forbidden":
        return _unknown(path)
    return _wrong_value(path, kind, error)


def _wrong_value(path: tuple[str | int, ...], kind: str, error: Mapping[str, Any]) -> Problem:
    value, context = error.get("input"), error.get("ctx") or {}
    family = kind.split("_", 1)[0]
    if kind == "literal_error":
        return _not_one_of(path, value, str(context.get("expected", "")))
    if family in {"greater", "less"}:
        ((bound, limit),) = context.items()
        size = "small" if family == "greater" else "large"
        shown = quoted(value).strip("'")
        return Problem(path, f"{shown} is too {size}", f"write {BOUNDS[bound]} {limit}")
    if family in EXPECTED:
        what, hint = EXPECTED[family]
        got = "" if family in {"model", "dict"} else f", got {_input(value)}"  # which may hold a secret
        return Problem(path, f"expected {what}{got}", hint)
    return Problem(path, f"is wrong: {error['msg']}", "look at docs/inventory.md")


def _input(value: object) -> str:
    if isinstance(value, Mapping):
        return "a map"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "a list"
    return "nothing" if value is None else quoted(value)


def _not_one_of(path: tuple[str | int, ...], value: object, expected: str) -> Problem:
    names = re.findall(r"'([^']*)'", expected)
    close = nearest(value, names) if isinstance(value, str) else None
    hint = f"write {close}" if close else f"write one of {', '.join(names)}"
    return Problem(path, f"{quoted(value)} is not known", hint)


def part_of(path: Sequence[str | int]) -> type[BaseModel]:
    """Return the model that a path of keys leads into."""
    if len(path) > 1 and path[0] in PARTS:
        return ModelFile if "files" in path else PARTS[str(path[0])]
    return HostSettings


def _describe(path: tuple[str | int, ...]) -> str:
    field = part_of(path).model_fields.get(str(path[-1]))
    return f"add `{path[-1]}:` ({field.description})" if field else f"add `{path[-1]}:`"


def _unknown(path: tuple[str | int, ...]) -> Problem:
    names = tuple(part_of(path).model_fields)
    close = nearest(str(path[-1]), names)
    hint = f"write {close}" if close else f"use one of {', '.join(names)}"
    return Problem(path, "is not known", hint, code=MistakeCode.UNKNOWN_NAME)
