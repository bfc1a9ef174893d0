"""Hosts that are alike form a class: one of them builds, the others take what it has made."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Member:
    """A host that needs a build of its class; `load` is the load a core."""

    name: str
    build_class: str
    load: float


def class_of(build_id: str, commit: str, machine: Mapping[str, object]) -> str:
    """
    Name the class: a build that was made on one of its hosts runs on the others.

    The build's id holds repository, backend, definitions with the GPU's target, and the distribution;
    `machine` is what the module llama_class tells of processor, compilers and C library. A tag that has moved
    makes another class.
    """
    ingredients = {"id": build_id, "commit": commit, "machine": dict(machine)}
    text = json.dumps(ingredients, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def builder_of(build_class: str, members: Iterable[Member], wish: str | None) -> str | None:
    """Choose who builds: the host that the inventory names, if it is one of the class, else the idlest."""
    own = [one for one in members if one.build_class == build_class]
    if any(one.name == wish for one in own):
        return wish
    return min(own, key=lambda one: one.load).name if own else None
