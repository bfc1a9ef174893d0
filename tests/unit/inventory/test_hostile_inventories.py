"""Arbitrary text in every field: refused with a remedy, or kept as it is; nothing is ever run."""

import contextlib
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from strixfleet.inventory.load import examine
from strixfleet.inventory.request import InventoryRequest
from strixfleet.inventory.schema.field_types import CONTROL
from strixfleet.inventory.schema.rules import check
from strixfleet.inventory.schema.settings import FIELDS


TODAY = date(2026, 11, 21)
SHA = "a" * 64
BASE: dict[str, Any] = {
    "llama_cpp_ref": "b10991",
    "llama_models": [{"name": "tiny", "path": "t.gguf", "sha256": SHA}],
    "llama_server_instances": [{"name": "chat", "model": "tiny", "port": 8080}],
    "smoke_bench": {},
    "audit_waivers": [{"item": "a:b", "reason": "r", "expires": "2999-01-01"}],
}
PARTS = {
    "llama_models": ("name", "url", "path", "host_path", "sha256", "files"),
    "llama_server_instances": (
        *(
            "name",
            "model",
            "port",
            "host",
            "context_size",
            "draft_model",
            "arguments",
            "environment",
            "api_key",
        ),
    ),
    "smoke_bench": ("model", "prompt_tokens", "generate_tokens", "repetitions", "tolerance"),
    "audit_waivers": ("item", "reason", "expires"),
}
MAPS = ("kernel_arguments", "llama_cpp_cmake_arguments")
HOSTILE = (
    "; touch pwned",
    "$(touch pwned)",
    "`touch pwned`",
    "a\nb",
    "a\r\nExecStart=/bin/sh",
    "{{ lookup('pipe', 'touch pwned') }}",
    "{% for x in range(9) %}x{% endfor %}",
    "%n %h %%",
    "$HOME ${PATH}",
    "-oProxyCommand=touch pwned",
    "--upload-pack=touch pwned",
    "../../../etc/shadow",
    "/etc/shadow\0.gguf",
    "\x1b[2J\x1b]0;owned\x07",
    "a\u2028b",
    "\u202egnp.exe",
    '"; }; reboot; {"',
    "' || true || '",
    "*",
    "~root",
    "|touch pwned",
    "<script>alert(1)</script>",
    "A" * 5000,
    "",
    " ",
)


def places() -> Iterator[tuple[str, ...]]:
    yield from ((name,) for name in FIELDS)
    for name, keys in PARTS.items():
        yield from ((name, key) for key in keys)
    yield from ((name, "*") for name in MAPS)
    yield from (("llama_server_instances", name, "*") for name in ("arguments", "environment"))


def planted(path: tuple[str, ...], text: object) -> dict[str, Any]:
    """Return good values with one of them replaced; `*` is both a name and a value of a map."""
    values: dict[str, Any] = json.loads(json.dumps(BASE))
    target: Any = values
    for key in path[:-1]:
        target = target.setdefault(key, {})
        target = target[0] if isinstance(target, list) else target
    if path[-1] == "*":
        target["GGML_NATIVE" if "cmake" in path[0] else "X"] = text
        target[str(text)] = "1"
    else:
        target[path[-1]] = text
    return values


def strings_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings_in(key)
            yield from strings_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings_in(item)


def examine_text(path: tuple[str, ...], text: str) -> None:
    found, problems = check(planted(path, text), TODAY)
    errors = [problem for problem in problems if not problem.warning]
    assert (found is None) == bool(errors)
    for problem in problems:
        assert problem.hint
        assert problem.message
    if found is not None:
        for kept in strings_in(found.model_dump(mode="python")):
            assert not CONTROL.search(kept)
            assert len(kept) <= 4096


@pytest.mark.parametrize("path", list(places()), ids=".".join)
def test_hostile_texts(path: tuple[str, ...]) -> None:
    for text in HOSTILE:
        examine_text(path, text)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(list(places())), st.text(max_size=60))
def test_any_text(path: tuple[str, ...], text: str) -> None:
    examine_text(path, text)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(list(places())), ANYTHING)
def test_any_value(path: tuple[str, ...], value: object) -> None:
    found, problems = check(planted(path, value), TODAY)
    assert (found is None) == any(not problem.warning for problem in problems)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=5))
def test_any_values_together(values: dict[str, object]) -> None:
    check(values, TODAY)


def test_through_the_whole_inventory(tmp_path: Path) -> None:
    """Plant the hostile texts as `!unsafe` in real files: what is accepted is literal, nothing was run."""

    class Unsafe(str):
        __slots__ = ()

    class Dumper(yaml.SafeDumper):
        pass

    Dumper.add_representer(
        Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text), style='"')
    )
    hosts = {}
    for index, path in enumerate(places()):
        for number in range(index % 4, len(HOSTILE), 4):
            hosts[f"h{number}x{index}"] = planted(path, Unsafe(HOSTILE[number]))
    folder = tmp_path / "fleet"
    folder.mkdir()
    with contextlib.chdir(tmp_path):
        for part in range(0, len(hosts), 200):
            chunk = dict(list(hosts.items())[part : part + 200])
            (folder / "hosts.yml").write_text(yaml.dump({"all": {"hosts": chunk}}, Dumper=Dumper))
            loaded = examine(InventoryRequest((str(folder),)))
            assert loaded.mistakes
            assert all(str(mistake).isprintable() for mistake in loaded.mistakes)
    assert [path.name for path in tmp_path.iterdir()] == ["fleet"]
