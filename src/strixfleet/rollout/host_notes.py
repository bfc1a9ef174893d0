"""What a rollout notes about a host for its report; it goes to the journal and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from strixfleet.on_host.questions import Json
from strixfleet.rollout.judge_gate import Check


@dataclass(frozen=True, slots=True)
class RenamedOption:
    """An option of one instance that the new build calls by another name."""

    instance: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class HostNotes:
    """
    What is known of one host so far.

    `build_before` is None until the host is activated, and where no build was current. `serves_nothing` tells
    that a first deployment was returned, so that no build is left to serve.
    """

    build_before: str | None = None
    downtime_s: float | None = None
    gate: tuple[Check, ...] = ()
    renamed: tuple[RenamedOption, ...] = ()
    serves_nothing: bool = False

    def to_json(self) -> dict[str, Json]:
        """Return the notes as the journal keeps them."""
        return {
            "from": self.build_before,
            "downtime_s": self.downtime_s,
            "gate": [check.to_json() for check in self.gate],
            "renamed": [[one.instance, one.old, one.new] for one in self.renamed],
            "serves_nothing": self.serves_nothing,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "HostNotes":
        """Read the notes back; raise ValueError, KeyError or TypeError when they are damaged."""
        return cls(
            data.get("from"),
            data.get("downtime_s"),
            tuple(Check.from_json(row) for row in data.get("gate") or ()),
            tuple(RenamedOption(*row) for row in data.get("renamed") or ()),
            bool(data.get("serves_nothing") or data.get("after")),
        )
