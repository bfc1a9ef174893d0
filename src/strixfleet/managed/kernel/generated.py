"""The boot loader's own file, held against the configuration that it is made from."""

from collections.abc import Iterator
from dataclasses import dataclass

from strixfleet.findings.items import Cost
from strixfleet.managed.platforms.boot_loaders import BootLoader
from strixfleet.managed.things.file import File
from strixfleet.managed.things.thing import Deed, Have, Thing, unread
from strixfleet.on_host.questions import Answers, Ask, Json, Question


AS_CONFIGURED = "as the configuration says"


@dataclass(frozen=True, kw_only=True)
class GeneratedConfiguration(Thing):
    """The boot loader's own file: each of its entries says what the configuration says."""

    loader: BootLoader
    drop_in: File
    cost: Cost = Cost.REBOOT

    @property
    def want(self) -> Json:
        return AS_CONFIGURED

    @property
    def _questions(self) -> tuple[Question, ...]:
        return (*self.loader.boot_questions, *self.loader.configuration_questions)

    def asks(self) -> Iterator[Question]:
        yield from self._questions

    def read(self, answers: Answers) -> Have:
        """Compare the contents, unless the drop-in is not as wanted: then that is the difference."""
        if self.drop_in.read(answers).value != self.drop_in.want:
            return Have("the drop-in is not as wanted")
        if error := unread(answers, self._questions):
            return Have(error=error)
        if answers.text(Ask.READ, self.loader.generated) is None:
            return Have(None)
        differing = self.loader.outdated(answers)
        return Have(f"outdated: {', '.join(differing)}" if differing else AS_CONFIGURED)

    def holds(self, have: Json) -> bool:
        """Accept all but an outdated file: what else can be wrong has rows of its own."""
        return not str(have).startswith("outdated")

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        """Regenerate it; a run that was killed after it wrote the drop-in is finished so."""
        if self.loader.outdated(answers):
            yield Deed("regenerate", {"loader": self.loader.name})
