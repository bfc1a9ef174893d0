"""One managed thing, and the compiled state of a host: one object drives what is applied and audited."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from strixfleet.findings.items import Difference, Item, Observed, diff
from strixfleet.inventory.hardware import Profile
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.managed.facts import NO_CONTROLLER_FILES, ControllerFacts, Facts
from strixfleet.on_host.questions import Answers, Json, Question


@dataclass(frozen=True, slots=True)
class Situation:
    """What compilation may look at: inventory, facts, profile (and why that one), answers, controller."""

    host: Host
    facts: Facts
    profile: Profile | None
    reason: str
    answers: Answers
    controller: ControllerFacts = NO_CONTROLLER_FILES


class Aspect(Protocol):
    """
    One managed thing; `name` is also its role and the prefix of its items.

    `questions` depends on the inventory alone, so that an audit is one round trip; `compile` then runs on the
    answers. `items` says what must be true, `observe` what is, in the same shape and with the same ids.
    `role_vars` is what the role gets: its keys equal the role's argument_specs.
    """

    name: ClassVar[str]

    @classmethod
    def questions(cls, host: Host) -> Iterator[Question]:
        """Say what to ask of the host."""
        ...

    @classmethod
    def compile(cls, situation: Situation) -> Self:
        """Settle the desired state."""
        ...

    def items(self) -> Iterator[Item]:
        """Say what must be true."""
        ...

    def observe(self, answers: Answers) -> Iterator[Observed]:
        """Say what is true."""
        ...

    def role_vars(self) -> dict[str, Json]:
        """Return the role its variables."""
        ...


@dataclass(frozen=True, slots=True)
class HostState:
    """The desired state of one host."""

    host: Host
    facts: Facts
    profile: Profile | None
    aspects: tuple[Aspect, ...]

    def items(self) -> Iterator[Item]:
        """Return everything that must be true."""
        for aspect in self.aspects:
            yield from aspect.items()

    def differences(self, answers: Answers) -> tuple[Difference, ...]:
        """Hold everything that must be true against the answers."""
        observed = (one for aspect in self.aspects for one in aspect.observe(answers))
        return diff(self.items(), observed)

    def role_vars(self) -> dict[str, dict[str, Json]]:
        """Return each role its variables, by role."""
        return {aspect.name: aspect.role_vars() for aspect in self.aspects}

    @property
    def since_applied(self) -> str:
        """Tell whom a difference is owed to: `never` applied, `stale` inventory, or the `same` as applied."""
        if self.facts.applied_digest is None:
            return "never"
        return "same" if self.facts.applied_digest == self.digest else "stale"

    @property
    def digest(self) -> str:
        """Digest of all that must be true; tells a stale host from a tampered one."""
        rows = [[item.id, item.want] for item in self.items()]
        return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
