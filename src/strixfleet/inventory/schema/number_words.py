"""Numbers that YAML reads differently from what is written, where text is expected: `010`, `0x1F`, `1:30`."""

import re
from collections.abc import Callable, Iterator, Mapping

import yaml

from strixfleet.inventory.schema.problems import Problem


TEXT_MAPS = ("kernel_arguments", "llama_cpp_cmake_arguments")
INSTANCE_MAPS = ("arguments", "environment")
AS_WRITTEN = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?\Z")
Path = tuple[str | int, ...]


def misread_numbers(values: Mapping[str, object], written: Callable[[Path], str | None]) -> Iterator[Problem]:
    """Find them; `written` returns the word at a path of keys as its file has it, if that is known."""
    for path, number in _numbers(values):
        text = written(path)
        if text is not None and not AS_WRITTEN.match(text) and yaml.safe_load(text) == number:
            yield Problem(path, f"YAML reads {text} as the number {number}", f'put it in quotes: "{text}"')


def _numbers(values: Mapping[str, object]) -> Iterator[tuple[Path, int | float]]:
    for name in TEXT_MAPS:
        yield from _entries((name,), values.get(name))
    instances = values.get("llama_server_instances")
    for index, instance in enumerate(instances if isinstance(instances, list) else ()):
        for key in INSTANCE_MAPS if isinstance(instance, Mapping) else ():
            yield from _entries(("llama_server_instances", index, key), instance.get(key))


def _entries(path: Path, found: object) -> Iterator[tuple[Path, int | float]]:
    for key, value in found.items() if isinstance(found, Mapping) else ():
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield (*path, str(key)), value
