"""Values that the running kernel shows and takes in /proc/sys or /sys."""

from collections.abc import Iterator
from dataclasses import dataclass

from strixfleet.managed.things.thing import Deed, Have, Thing
from strixfleet.on_host.questions import Answers, Ask, Json, Question


@dataclass(frozen=True, kw_only=True)
class Value(Thing):
    """
    One line of text in a file of the kernel.

    It lasts until the next boot: a `File` that is read at boot (sysctl.d, tmpfiles.d) makes it last.
    """

    path: str
    value: str

    @property
    def want(self) -> Json:
        return self.value

    def asks(self) -> Iterator[Question]:
        yield Question(Ask.READ, self.path)

    def read(self, answers: Answers) -> Have:
        """Return the value without its line's end; several words are divided by one blank."""
        answer = answers[Question(Ask.READ, self.path)]
        text = answer.value
        return Have(" ".join(text.split()) if isinstance(text, str) else text, answer.error)

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        yield Deed("value", {"path": self.path, "value": self.value})
