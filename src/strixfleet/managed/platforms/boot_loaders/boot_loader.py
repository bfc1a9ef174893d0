"""What every boot loader states about itself."""

from collections.abc import Mapping
from typing import Protocol

from strixfleet.managed.things.file import Template


class BootLoader(Protocol):
    """
    One boot loader.

    `tool` regenerates `generated` from the files that the administrator writes, among them our `drop_in`.
    """

    name: str
    tool: str
    drop_in: str
    generated: str

    def source(self, arguments: Mapping[str, str | None]) -> Template:
        """Return our drop-in for the arguments; None takes an argument away."""
        ...

    def command_line(self, generated: str | None) -> str | None:
        """Return the kernel command line that boots by default, None where there is none."""
        ...

    def left_running(self, generated: str | None, running: str) -> list[str]:
        """Return the words that the kernel was booted with and that nothing configures any more."""
        ...
