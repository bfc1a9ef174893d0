"""What every boot loader states about itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from strixfleet.managed.things.file import Template
from strixfleet.on_host.questions import Answers, Question


@dataclass(frozen=True, slots=True)
class Boot:
    """What the next boot takes: its command line, and why none of our arguments can reach it, where so."""

    line: str
    unreached: str = ""


class BootLoader(Protocol):
    """
    One boot loader.

    `tool` regenerates `generated` from the files that the administrator writes, among them our `drop_in`.
    `boot_questions` are those for what boots next, `configuration_questions` those for these files.
    """

    name: str
    tool: str
    drop_in: str
    generated: str
    boot_questions: tuple[Question, ...]
    configuration_questions: tuple[Question, ...]

    def source(self, arguments: Mapping[str, str | None]) -> Template:
        """Return our drop-in for the arguments; None takes an argument away."""
        ...

    def boots(self, answers: Answers) -> Boot | None:
        """Return what boots next, None where there is no entry."""
        ...

    def left_running(self, answers: Answers, running: str) -> list[str]:
        """Return the words that the kernel was booted with and that nothing configures any more."""
        ...

    def outdated(self, answers: Answers) -> list[str]:
        """Return the arguments that `generated` says otherwise than the files that it is made from."""
        ...

    def set_in(self, answers: Answers, name: str) -> list[str]:
        """Return `file:line` of each line of the administrator's that sets an argument."""
        ...

    def overruled_by(self, answers: Answers, name: str) -> str:
        """Return `file:line` of what comes after our drop-in and takes an argument's place, else nothing."""
        ...
