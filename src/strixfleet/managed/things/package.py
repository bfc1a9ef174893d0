"""Debian packages as wishes: one statement of name, floor and source for role and audit alike."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from strixfleet.findings.items import Cost, Item, Observed, Rule
from strixfleet.on_host.questions import Answers, Ask, Json, Question


@dataclass(frozen=True, slots=True)
class PackageWish:
    """
    A package that must be installed, not older than `floor`, and none of `known_bad`.

    `release` is what `apt-get -t` takes; `newest` asks for the newest version whatever is installed.
    """

    name: str
    floor: str | None = None
    known_bad: tuple[str, ...] = ()
    release: str | None = None
    newest: bool = False

    def question(self) -> Question:
        """Ask for the installed version."""
        return Question(Ask.PACKAGE, self.name)

    def items(self, aspect: str) -> Iterator[Item]:
        """Say what must be true of the package."""
        key = f"{aspect}:{self.name}"
        if self.floor is None:
            yield Item(key, "installed", cost=Cost.DOWNLOAD)
        else:
            yield Item(key, self.floor, cost=Cost.DOWNLOAD, rule=Rule.VERSION_AT_LEAST)
        if self.known_bad:
            message = "this version is known to be bad"
            yield Item(
                f"{key}.known_bad",
                list(self.known_bad),
                cost=Cost.DOWNLOAD,
                rule=Rule.NONE_OF,
                message=message,
            )

    def observe(self, aspect: str, answers: Answers) -> Iterator[Observed]:
        """Say what is true of it."""
        answer = answers[self.question()]
        key = f"{aspect}:{self.name}"
        installed = answer.value if isinstance(answer.value, str) else None
        have = "installed" if installed and self.floor is None else installed
        yield Observed(key, have, answer.error)
        if self.known_bad:
            yield Observed(f"{key}.known_bad", self.bad_version(installed), answer.error)

    def bad_version(self, installed: str | None) -> str | None:
        """Return the entry of the list that an installed version is, if any."""
        for bad in self.known_bad:
            if installed and re.match(rf"{re.escape(bad)}(?![0-9])", installed):
                return bad
        return None

    def role_var(self) -> dict[str, Json]:
        """Return what a role hands to `apt_packages`."""
        return {
            "name": self.name,
            "floor": self.floor,
            "known_bad": list(self.known_bad),
            "release": self.release,
            "newest": self.newest,
        }
