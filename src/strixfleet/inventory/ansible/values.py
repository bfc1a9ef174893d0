"""One host's variables, resolved by Ansible: its types are stripped, its tags become places."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any


PLAIN_ITEMS_MAX = 200_000


SECRET_HINT = "give --ask-vault-pass or --vault-password-file FILE"  # noqa: S105 - a hint, no secret
WRONG_SECRET = "no vault secrets were found that could decrypt"  # noqa: S105 - Ansible's words
WRONG_SECRET_HINT = "check the vault password: the one that was given does not open this"  # noqa: S105 - a hint
SOURCE = re.compile(r"<inventory (?:plugin|script) .*'(/.+)'>\Z")  # a program's output, TOML
TAGS_ITSELF = re.compile(r"<inventory plugin '(?:yaml|ini)' ")
FACTS_HINT = "define it in the inventory; facts of hosts are not known when the inventory is read"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written, as Ansible's tag has it; file may be a description such as `-e`."""

    file: str
    line: int = 0  # 0 when unknown, as in JSON


@dataclass(slots=True)
class Value:
    """One resolved variable: plain data, and the places of its parts by their path of keys."""

    data: object
    places: dict[tuple[str | int, ...], Place] = field(default_factory=dict)
    raw_place: Place | None = None
    templated: bool = False


def secret_hint(message: str) -> str:
    """Return the cure for a value that stays encrypted."""
    return WRONG_SECRET_HINT if WRONG_SECRET in message else SECRET_HINT


class TemplateFailed(Exception):
    """A template could not be resolved, or a value could not be decrypted."""

    def __init__(self, message: str, place: Place | None) -> None:
        _prefix, locked, why = message.partition("Attempt to use undecryptable variable: ")
        self.message, self.place = f"cannot be decrypted: {why.rstrip('.')}" if locked else message, place
        self.hint = (
            secret_hint(message) if locked else FACTS_HINT if "undefined" in message else "check the template"
        )
        super().__init__(message)


class HostVariables:
    """One host's variables, resolved one by one."""

    def __init__(self, loader: Any, variables: dict[str, Any]) -> None:  # noqa: ANN401 - Ansible's
        from ansible.template import Templar

        self._raw = variables
        self._templar = Templar(loader=loader, variables=variables)

    def __contains__(self, name: str) -> bool:
        return name in self._raw

    def place(self, name: str) -> Place | None:
        """Return the place of a variable's unresolved value."""
        return place_of(self._raw.get(name))

    def resolve(self, name: str) -> Value:
        """Resolve templates and vault, and note where each part is written."""
        raw = self._raw[name]
        try:
            resolved = self._templar.template(raw)
            value = Value(None, raw_place=place_of(raw), templated=isinstance(raw, str) and "{{" in raw)
            value.data = _plain(resolved, (), value.places, [0])
        except RecursionError:
            raise TemplateFailed("refers to itself", place_of(raw)) from None
        except Exception as error:  # noqa: BLE001 - filters and lookups raise what they like
            raise TemplateFailed(reason(error), place_of(raw)) from None
        return value


def place_of(value: object) -> Place | None:
    """
    Return the place in Ansible's origin tag.

    ansible-core 2.19 gives values of other plugins the first plugin's file.
    """
    from ansible._internal._datatag._tags import Origin

    tag = Origin.get_tag(value)
    if tag is None or not (tag.path or tag.description):
        return None
    if not tag.path and TAGS_ITSELF.match(str(tag.description)):
        return None
    source = tag.path or ((named := SOURCE.search(str(tag.description))) and named[1])
    file = real_path(str(source)) if source else str(tag.description)
    return Place(file, int(tag.line_num or 0))


@lru_cache(maxsize=4096)
def real_path(path: str) -> str:
    """Return a path without links: Ansible resolves some and keeps others."""
    return os.path.realpath(path)


def _plain(
    value: Any,  # noqa: ANN401 - whatever Ansible gives
    path: tuple[str | int, ...],
    places: dict[tuple[str | int, ...], Place],
    count: list[int],
) -> object:
    """Strip Ansible's types off a value, deep down, and collect the places."""
    count[0] += 1
    if count[0] > PLAIN_ITEMS_MAX:
        raise ValueError(f"has more than {PLAIN_ITEMS_MAX} items")
    place = place_of(value)
    if place is not None:
        places[path] = place
    if isinstance(value, Mapping):
        for key in value:  # for booleans and nulls, which have no tag
            if key_place := place_of(key):
                places[*path, str(key)] = key_place
        return {_key(key): _plain(item, (*path, str(key)), places, count) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item, (*path, index), places, count) for index, item in enumerate(value)]
    if isinstance(value, str):
        return str.__str__(value)[:]
    for kind in (bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    return value


def _key(key: object) -> object:
    return str.__str__(key) if isinstance(key, str) else key


def reason(error: BaseException) -> str:
    """Return an error of Ansible as one line without values."""
    text = str(getattr(error, "message", None) or error) or type(error).__name__
    line = re.sub(r"\s+", " ", text).strip()
    if "Recursive loop" in line:
        return "refers to itself"
    line = line.rstrip(".")
    return line if len(line) <= 300 else f"{line[:300]}…"  # noqa: PLR2004
