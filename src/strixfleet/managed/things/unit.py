"""systemd units that run and start at boot."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from strixfleet.managed.things.thing import Deed, Have, Thing
from strixfleet.on_host.questions import Answers, Ask, Json, Question


OF_ALL_UNITS = re.compile(r"(/usr)?/lib/systemd/system/(service|timer)\.d/")


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
        """Take systemd's word; a unit that is not there is absent, and one that is masked is not enabled."""
        answer = answers[Question(Ask.UNIT, self.name)]
        value = answer.value
        if not isinstance(value, dict) or value.get("LoadState") not in ("loaded", "masked"):
            return Have(None, answer.error)
        enabled = "masked" if value.get("LoadState") == "masked" else value.get("UnitFileState")
        return Have({"active": value.get("ActiveState"), "enabled": enabled}, answer.error)

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        yield Deed("unit", {"name": self.name})


def foreign_files(unit: Mapping[str, Json], ours: Collection[str]) -> list[Json]:
    """
    List the files of a unit of ours that are not ours, also a drop-in for a prefix or for all services.

    What the distribution says of all units of a type is not counted.
    """
    paths = {*str(unit.get("DropInPaths") or "").split(), str(unit.get("FragmentPath") or "")} - {""}
    return [*sorted(path for path in paths if path not in ours and not OF_ALL_UNITS.match(path))]
