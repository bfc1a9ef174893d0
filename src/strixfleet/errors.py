"""
Every error that strixfleet raises on purpose, with its exit code.

    FleetError                      4  a change failed
    ├── UsageError                  2  wrong flags, wrong selection
    │   └── InventoryError          2  wrong inventory; holds every mistake found
    ├── HostError                   3  one host: recorded as a finding, never stops the others
    │   ├── Unreachable             3  no connection
    │   ├── HostKeyError            3  unknown or changed host key
    │   └── ProbeFailed             3  reached, but its state could not be read
    ├── ChangeFailed                4  a change failed and was returned or halted
    │   └── LockHeld                4  another operator is changing the fleet
    ├── GgufError                   2  a model file cannot be read
    └── SandboxError                4  a disposable host could not be made or removed

Form of a message: `where: what is wrong; hint: what to do`.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """What the process returns, as README.md lists it."""

    OK = 0
    ATTENTION = 1  # drift, a reboot pending, or slower than expected
    USAGE = 2  # wrong usage or inventory: nothing was changed
    UNREACHABLE = 3  # some host unreachable, or its state could not be read
    FAILED = 4  # a change failed and was returned or halted
    DEFECT = 5  # a defect in strixfleet itself


_PRECEDENCE = (
    ExitCode.DEFECT,
    ExitCode.FAILED,
    ExitCode.USAGE,
    ExitCode.UNREACHABLE,
    ExitCode.ATTENTION,
    ExitCode.OK,
)


def worst(*codes: ExitCode) -> ExitCode:
    """Return the code that wins if several apply: the first of 5, 4, 2, 3, 1, 0."""
    return min(codes, key=_PRECEDENCE.index, default=ExitCode.OK)


class FleetError(Exception):
    """An error that is reported in one sentence instead of a traceback."""

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        self.message = message
        self.where = where
        self.hint = hint
        super().__init__(message)

    def __str__(self) -> str:
        """Return `where: what is wrong; hint: what to do`."""
        head = f"{self.where}: " if self.where else ""
        tail = f"; hint: {self.hint}" if self.hint else ""
        return f"{head}{self.message}{tail}"


class UsageError(FleetError):
    """The command line or the selection is wrong; nothing was changed."""

    exit_code = ExitCode.USAGE


class MistakeCode(StrEnum):
    """The kind of a mistake; programs decide by it, never by the message."""

    UNREADABLE = "unreadable"  # a file that cannot be read, or not safely
    STRUCTURE = "structure"  # a file with parts that Ansible refuses or skips
    SET_TWICE = "set_twice"
    MISSING = "missing"
    UNKNOWN_NAME = "unknown_name"
    VALUE = "value"
    KNOWN_DEFECT = "known_defect"  # the pinned build is known to be bad


@dataclass(frozen=True, slots=True)
class Mistake:
    """
    One mistake in the inventory: its place, the hosts that it concerns, and the remedy.

    `hosts` has all of them, `host` is what is shown: the first three by name.
    """

    message: str
    file: str = ""
    line: int = 0
    host: str = ""
    field: str = ""
    hint: str = ""
    warning: bool = False
    hosts: tuple[str, ...] = ()
    code: MistakeCode = MistakeCode.VALUE

    @property
    def keeps_out(self) -> bool:
        """Tell whether no verb may use the inventory; a bad pin is refused where it would be installed."""
        return not self.warning and self.code is not MistakeCode.KNOWN_DEFECT

    def __str__(self) -> str:
        """Return `file:line: host: field: what is wrong; hint: what to do`."""
        place = f"{self.file}:{self.line}" if self.file and self.line else self.file
        head = ": ".join(part for part in (place, self.host, self.field) if part)
        tail = f"; hint: {self.hint}" if self.hint else ""
        return f"{head}: {self.message}{tail}" if head else f"{self.message}{tail}"


class InventoryError(UsageError):
    """The inventory is wrong; holds every mistake that was found, not only the first."""

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        self.mistakes = mistakes
        super().__init__("\n".join(str(mistake) for mistake in mistakes))


class GgufError(UsageError):
    """The header of a model file cannot be read."""


class HostError(FleetError):
    """An error on one host; `where` is its inventory name."""

    exit_code = ExitCode.UNREACHABLE


class Unreachable(HostError):
    """No connection to the host."""


class HostKeyError(HostError):
    """The host's key is unknown, or is not the one that was enrolled."""


class ProbeFailed(HostError):
    """The host was reached, but its state could not be read."""


class ChangeFailed(FleetError):
    """A change failed and was returned or halted."""


class LockHeld(ChangeFailed):
    """Another operator is changing the fleet."""


class SandboxError(FleetError):
    """A disposable host could not be made or removed."""
