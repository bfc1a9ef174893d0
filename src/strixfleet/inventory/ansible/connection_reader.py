"""Read Ansible's connection variables of one host, in any of their spellings."""

import re
import shlex
from collections.abc import Mapping

from strixfleet.inventory.schema.field_types import has_control, quoted
from strixfleet.inventory.schema.fleet_model import Password
from strixfleet.inventory.schema.problems import Problem


NAMES = {
    "address": ("ansible_ssh_host", "ansible_host"),
    "port": ("ansible_ssh_port", "ansible_port"),
    "user": ("ansible_ssh_user", "ansible_user"),
    "key": ("ansible_ssh_private_key_file", "ansible_private_key_file"),
    "password": ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password"),
    "become": ("ansible_become",),
    "become_method": ("ansible_become_method",),
    "become_user": ("ansible_become_user", "ansible_sudo_user"),
    "become_flags": ("ansible_become_flags", "ansible_sudo_flags"),
    "become_exe": ("ansible_become_exe", "ansible_sudo_exe"),
    "become_password": (
        "ansible_become_password",
        "ansible_become_pass",
        "ansible_sudo_password",
        "ansible_sudo_pass",
    ),
    "python": ("ansible_python_interpreter",),
    "connection": ("ansible_connection",),
    "timeout": ("ansible_ssh_timeout", "ansible_timeout"),
}
ARGUMENTS = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")
ALL_NAMES = frozenset(name for group in NAMES.values() for name in group) | frozenset(ARGUMENTS)
TRUE, FALSE = (
    frozenset({"1", "true", "yes", "on", "y", "t"}),
    frozenset({"0", "false", "no", "off", "n", "f"}),
)
DANGEROUS_OPTION = re.compile(
    r"(stricthostkeychecking|userknownhostsfile|globalknownhostsfile)", re.IGNORECASE
)


class Reader:
    """Reads one host's connection variables and collects their problems."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self.values = values
        self.problems: list[Problem] = []

    def given(self, what: str) -> tuple[str, object] | None:
        """Find the first spelling of a variable that is set."""
        for name in NAMES[what]:
            if (
                self.values.get(name) not in {None, ""}
                if _plain(self.values.get(name))
                else name in self.values
            ):
                return name, self.values[name]
        return None

    def refuse(self, name: str, message: str, hint: str) -> None:
        """Note a mistake."""
        self.problems.append(Problem((name,), message, hint))

    def text(
        self, what: str, pattern: re.Pattern[str] | None = None, default: str | None = None
    ) -> str | None:
        """Read a text that is one line and does not begin with a dash."""
        found = self.given(what)
        if found is None:
            return default
        name, value = found
        if not isinstance(value, str | int) or isinstance(value, bool):
            self.refuse(name, "is not text", "write one word, in quotes")
            return default
        text = str(value)
        if has_control(text) or text.startswith("-") or (pattern and not pattern.match(text)):
            self.refuse(
                name, f"{quoted(text)} cannot be used", "write it without blanks, quotes or a leading dash"
            )
            return default
        return text

    def number(self, what: str, default: int, most: int) -> int:
        """Read a whole number."""
        found = self.given(what)
        if found is None:
            return default
        name, value = found
        text = str(value)
        if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,6}", text) or not 0 < int(text) <= most:
            self.refuse(name, f"{quoted(value)} is out of range", f"write a number from 1 to {most}")
            return default
        return int(text)

    def switch(self, what: str, *, default: bool) -> bool:
        """Read a boolean as Ansible does."""
        found = self.given(what)
        if found is None:
            return default
        name, value = found
        word = str(value).lower()
        if word not in TRUE | FALSE:
            self.refuse(name, f"{quoted(value)} is neither true nor false", "write true or false")
        return word in TRUE

    def secret(self, what: str) -> Password | None:
        """Read a password."""
        found = self.given(what)
        if found is None:
            return None
        name, value = found
        if not isinstance(value, str | int) or isinstance(value, bool) or "\n" in str(value):
            self.refuse(name, "is not a valid password", "write it in quotes, on one line (vault)")
            return None
        return Password(str(value))

    def words(self, what: str) -> tuple[str, ...]:
        """Read words as a shell splits them."""
        found = self.given(what)
        try:
            words = shlex.split(str(found[1])) if found else []
        except ValueError as error:
            self.refuse(
                found[0] if found else "", f"cannot be split into words ({error})", "close the quotes"
            )
            return ()
        if found and has_control(str(found[1])):
            self.refuse(found[0], "has a line break or a control character", "write it on one line")
        return tuple(words)

    def arguments(self) -> tuple[str, ...]:
        """Read ssh's arguments, except those about host keys, which strixfleet checks itself."""
        words: list[str] = []
        for name in ARGUMENTS:
            value = self.values.get(name)
            if value is None or value == "":
                continue
            try:
                found = shlex.split(str(value))
            except ValueError as error:
                self.refuse(name, f"cannot be split into words ({error})", "close the quotes")
                continue
            if has_control(str(value)):
                self.refuse(name, "has a line break or a control character", "write it on one line")
            elif any(DANGEROUS_OPTION.search(word) for word in found):
                hint = "drop it, and enrol the host with `strixfleet trust`"
                self.refuse(name, "would change how host keys are checked", hint)
            words.extend(found)
        return tuple(words)


def _plain(value: object) -> bool:
    return value is None or isinstance(value, str)
