"""A thing states itself once: what to ask, what is wanted, what is, how they are compared, what to do."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from strixfleet.findings.items import RULES, Cost, Cure, Difference, Rule, Status
from strixfleet.on_host.questions import Answer, Answers, Json, Question


@dataclass(frozen=True, slots=True)
class Have:
    """
    What was read of a thing, never adjusted towards what is wanted.

    `error` says why it could not be read; `message` explains a difference better than the thing's own, and
    `cure` names what cures it where that is not the thing's own.
    """

    value: Json = None
    error: str | None = None
    message: str = ""
    cure: Cure | None = None

    @classmethod
    def of(cls, answer: Answer) -> "Have":
        """Take an answer as it is."""
        return cls(answer.value, answer.error)


def unread(answers: Answers, questions: Iterable[Question]) -> str | None:
    """Say why the first of some questions that has no answer has none; None where all were answered."""
    return next((error for one in questions if (error := answers[one].error) is not None), None)


@dataclass(frozen=True, slots=True)
class Deed:
    """One step that brings a thing about: `kind` says which step of the role, `arguments` with what."""

    kind: str
    arguments: Mapping[str, Json]


@dataclass(frozen=True, kw_only=True)
class Thing(ABC):
    """
    One thing that must be true of a host; `id` reads `aspect:key`.

    Where `want` is a map, `live` names the keys that show the running system.
    """

    id: str
    cure: Cure = Cure.PROVISION
    cost: Cost = Cost.NONE
    message: str = ""
    rule: Rule = Rule.EQUAL
    live: tuple[str, ...] = ()

    @property
    @abstractmethod
    def want(self) -> Json:
        """What must be true."""

    @property
    def stated(self) -> Json:
        """What settings and machine say of it: the digest that tells a moved inventory from a moved host."""
        return self.want

    @abstractmethod
    def read(self, answers: Answers) -> Have:
        """Say what is true."""

    def asks(self) -> Iterable[Question]:
        """Say what has to be asked of the host."""
        return ()

    def holds(self, have: Json) -> bool:
        """Tell whether what was read will do: of two maps each key that is wanted."""
        want = self.want
        if self.rule is Rule.EQUAL and isinstance(want, dict) and isinstance(have, dict):
            return all(self.key_holds(key, have) for key in want)
        return RULES[self.rule](want, have)

    def key_holds(self, key: str, have: Mapping[str, Json]) -> bool:
        """Tell whether one key of what was read will do."""
        return isinstance(self.want, dict) and self.want.get(key) == have.get(key)

    def deeds(self, answers: Answers) -> Iterable[Deed]:
        """Say what brings it about; each deed changes nothing where the thing is as wanted."""
        return ()

    def _waits_for_reboot(self, have: Json) -> bool:
        """
        Tell whether a reboot is all that is missing: only keys of the running system differ.

        Where the first of them is right and a later one is not, the system was booted as asked and it did
        not help: that is drift.
        """
        want = self.want
        if not self.live or not isinstance(want, dict) or not isinstance(have, dict):
            return False
        if self.key_holds(self.live[0], have):
            return False
        return all(self.key_holds(key, have) for key in want if key not in self.live)

    def compare(self, answers: Answers) -> Difference:
        """Hold what is wanted against what is."""
        have = self.read(answers)
        cure = have.cure or self.cure
        row = Difference(self.id, Status.OK, self.want, have.value, cure, self.cost)
        if have.error is not None:
            return replace(row, status=Status.UNKNOWN, have=None, message=have.error)
        if self.holds(have.value):
            return row
        message = have.message or self.message
        if self._waits_for_reboot(have.value):
            pending = Status.PENDING_REBOOT
            return replace(row, status=pending, cure=Cure.REBOOT, cost=Cost.REBOOT, message=message)
        return replace(row, status=Status.DRIFT, message=message)


Reader = Callable[[Answers], Have]


@dataclass(frozen=True, kw_only=True)
class Check(Thing):
    """A thing that is only looked at, or whose deeds belong to one aspect alone."""

    wanted: Json
    reader: Reader
    questions: tuple[Question, ...] = ()
    steps: Callable[[Answers], Iterable[Deed]] | None = None

    @property
    def want(self) -> Json:
        return self.wanted

    def read(self, answers: Answers) -> Have:
        return self.reader(answers)

    def asks(self) -> Iterable[Question]:
        return self.questions

    def deeds(self, answers: Answers) -> Iterable[Deed]:
        return self.steps(answers) if self.steps else ()


@dataclass(frozen=True, kw_only=True)
class Settled(Thing):
    """A thing whose shape follows from the rest of the host: a mirror of its own, what is installed there."""

    statement: Json
    choose: Callable[[Answers], Thing]
    questions: tuple[Question, ...]

    @property
    def want(self) -> Json:
        return self.statement

    def asks(self) -> Iterable[Question]:
        return self.questions

    def read(self, answers: Answers) -> Have:
        return self.choose(answers).read(answers)

    def compare(self, answers: Answers) -> Difference:
        return self.choose(answers).compare(answers)

    def deeds(self, answers: Answers) -> Iterable[Deed]:
        return self.choose(answers).deeds(answers)
