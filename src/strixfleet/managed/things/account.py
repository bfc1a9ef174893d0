"""System accounts and their groups."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from strixfleet.findings.items import Cure
from strixfleet.managed.things.thing import Deed, Have, Thing
from strixfleet.on_host.questions import Answers, Ask, Json, Question


# Whoever is in one of these becomes root, or reads what root alone should.
POWERFUL = frozenset(
    {"root", "sudo", "wheel", "admin", "adm", "disk", "shadow", "docker", "incus", "incus-admin", "lxd"}
    | {"kmem", "libvirt", "podman", "systemd-journal"}
)


@dataclass(frozen=True, kw_only=True)
class Account(Thing):
    """
    A system account with a group of its own name; `groups` are made where they are missing.

    Other groups that it is in are the owner's business, unless they make it more than a service.
    """

    name: str
    home: str
    shell: str = "/usr/sbin/nologin"
    groups: tuple[str, ...] = ()
    comment: str = ""

    @property
    def want(self) -> Json:
        return {"shell": self.shell, "home": self.home, "groups": [*self.groups], "uid": "not 0"}

    def asks(self) -> Iterator[Question]:
        yield Question(Ask.USER, self.name)

    def read(self, answers: Answers) -> Have:
        answer = answers[Question(Ask.USER, self.name)]
        if not isinstance(answer.value, dict):
            return Have.of(answer)
        groups = answer.value.get("groups")
        others = [one for one in groups if one != self.name] if isinstance(groups, list) else []
        have: dict[str, Json] = {key: answer.value.get(key) for key in ("shell", "home", "uid")}
        powers = sorted(POWERFUL.intersection(map(str, others)))
        powers += ["uid 0"] if have["uid"] == 0 else []
        if not powers:
            return Have({**have, "groups": others}, answer.error)
        message = f"{', '.join(powers)}: take it away by `gpasswd -d {self.name} GROUP` or `usermod --uid`"
        return Have({**have, "groups": others}, answer.error, message, Cure.MANUAL)

    def key_holds(self, key: str, have: Mapping[str, Json]) -> bool:
        """Accept more groups than are wanted, as long as it stays a service."""
        found = have.get(key)
        if key == "uid":
            return isinstance(found, int) and found > 0
        if key == "groups":
            given = [*map(str, found)] if isinstance(found, list) else []
            return set(self.groups) <= set(given) and not POWERFUL.intersection(given)
        return super().key_holds(key, have)

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        row: dict[str, Json] = {"name": self.name, "home": self.home, "shell": self.shell}
        yield Deed("account", row | {"groups": [*self.groups], "comment": self.comment})
