"""systemd units that run and start at boot."""

from collections.abc import Iterator
from dataclasses import dataclass

from strixfleet.managed.things.thing import Deed, Have, Thing
from strixfleet.on_host.questions import Answers, Ask, Json, Question


@dataclass(frozen=True, kw_only=True)
class Unit(Thing):
    """A unit that is active and enabled."""

    name: str

    @property
    def want(self) -> Json:
        return {"active": "active", "enabled": "enabled"}

    def asks(self) -> Iterator[Question]:
        yield Question(Ask.UNIT, self.name)

    def read(self, answers: Answers) -> Have:
        """Take systemd's word; a unit that is not there is absent."""
        answer = answers[Question(Ask.UNIT, self.name)]
        value = answer.value
        if not isinstance(value, dict) or value.get("LoadState") != "loaded":
            return Have(None, answer.error)
        return Have({"active": value.get("ActiveState"), "enabled": value.get("UnitFileState")}, answer.error)

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        yield Deed("unit", {"name": self.name})
