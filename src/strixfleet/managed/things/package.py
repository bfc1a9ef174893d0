"""Debian packages: installed, not older than a floor, not a version known to be bad, held or not."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from strixfleet.findings.items import Cost, version_key
from strixfleet.managed.things.thing import Deed, Have, Thing
from strixfleet.on_host.questions import Answers, Ask, Json, Question


HELD = Question(Ask.RUN, "held")


@dataclass(frozen=True, kw_only=True)
class Package(Thing):
    """
    A package that must be installed, not older than `floor`, and none of `known_bad`.

    `release` is what `apt-get -t` takes; `newest` asks for the newest version whatever is installed.
    """

    name: str
    floor: str | None = None
    known_bad: tuple[str, ...] = ()
    release: str | None = None
    newest: bool = False
    cost: Cost = Cost.DOWNLOAD

    @property
    def want(self) -> Json:
        words = [f">= {self.floor}"] if self.floor else []
        return ", ".join([*words, *(f"not {bad}" for bad in self.known_bad)]) or "any version"

    def asks(self) -> Iterator[Question]:
        yield Question(Ask.PACKAGE, self.name)

    def read(self, answers: Answers) -> Have:
        answer = answers[Question(Ask.PACKAGE, self.name)]
        bad = self.bad_version(answer.value)
        return Have(answer.value, answer.error, f"version {bad} is known to be bad" if bad else "")

    def holds(self, have: Json) -> bool:
        if not isinstance(have, str) or self.bad_version(have):
            return False
        return self.floor is None or version_key(have) >= version_key(self.floor)

    def bad_version(self, installed: Json) -> str | None:
        """Return the entry of `known_bad` that an installed version is, if any."""
        for bad in self.known_bad:
            if isinstance(installed, str) and re.match(rf"{re.escape(bad)}(?![0-9])", installed):
                return bad
        return None

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        row: dict[str, Json] = {"name": self.name, "floor": self.floor, "known_bad": [*self.known_bad]}
        yield Deed("package", row | {"release": self.release, "newest": self.newest})


@dataclass(frozen=True, kw_only=True)
class Holds(Thing):
    """Packages that apt keeps at their version, or none of which it may keep."""

    names: tuple[str, ...]
    held: bool

    @property
    def want(self) -> Json:
        return [*self.names] if self.held else []

    def asks(self) -> Iterator[Question]:
        yield HELD

    def read(self, answers: Answers) -> Have:
        answer = answers[HELD]
        words = answer.value.split() if isinstance(answer.value, str) else []
        return Have([word for word in words if word in self.names], answer.error)

    def holds(self, have: Json) -> bool:
        return isinstance(have, list) and set(map(str, have)) == set(self.names if self.held else ())

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        for name in self.names:
            yield Deed("hold" if self.held else "release", {"name": name})
