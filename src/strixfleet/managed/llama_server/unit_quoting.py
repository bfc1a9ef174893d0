"""Words of systemd unit files: what goes in comes out again as one word, whatever is in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable in a command: systemd puts its value there, parted at blanks."""

    name: str


def _quoted(text: str) -> str:
    """
    Quote by systemd.syntax(7) and escape specifiers by systemd.unit(5).

    Control characters become escapes of their own; NUL has no place in any argument.
    """
    if "\0" in text:
        raise ValueError("a unit file cannot hold NUL")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    plain = (f"\\x{ord(char):02x}" if char < " " or char == "\x7f" else char for char in escaped)
    return f'"{"".join(plain)}"'


def command_word(text: str) -> str:
    """Write one argument of ExecStart=, where `$` would name a variable."""
    return _quoted(text).replace("$", "$$")


def command_line(words: Sequence[str | Variable]) -> str:
    """Write a command, its options one to a line."""
    lines: list[list[str]] = []
    for word in words:
        if isinstance(word, Variable) or word.startswith("--") or not lines:
            lines.append([])
        lines[-1].append(f"${word.name}" if isinstance(word, Variable) else command_word(word))
    return " \\\n  ".join(" ".join(line) for line in lines)


def environment_lines(variables: Mapping[str, str]) -> list[str]:
    """Write the assignments of Environment=; `$` means itself there."""
    return [_quoted(f"{name}={value}") for name, value in variables.items()]


def bind_path(path: str) -> str:
    """Write one path of BindReadOnlyPaths=; within quotes a colon does not part source from target."""
    return _quoted(path)
