"""GRUB as Debian and Ubuntu configure it: /etc/default/grub and its drop-ins, made into grub.cfg."""

import re
from collections.abc import Mapping

from strixfleet.managed.kernel.command_line import LOADER_ADDS, plain_name
from strixfleet.managed.things.file import Template


_LINUX = re.compile(r"^\s*linux(?:efi|16)?\s+\S+[ \t]*(.*)$", re.MULTILINE)
_END = re.compile(r"^\s*\}\s*$", re.MULTILINE)
_VT_HANDOFF = "$vt_handoff"  # Ubuntu's, which becomes vt.handoff=7


class Grub:
    """GRUB 2."""

    name = "grub"
    tool = "/usr/sbin/update-grub"
    drop_in = "/etc/default/grub.d/zz-strixfleet.cfg"
    generated = "/boot/grub/grub.cfg"

    def source(self, arguments: Mapping[str, str | None]) -> Template:
        """Return our drop-in for the arguments; None takes an argument away."""
        words = [n if v == "" else f"{n}={v}" for n, v in arguments.items() if v is not None]
        return Template(f"host{self.drop_in}.j2", {"names": list(arguments), "words": words})

    def command_line(self, generated: str | None) -> str | None:
        """Return the command line of the first entry of grub.cfg, which is what boots by default."""
        found = _LINUX.search(generated or "")
        return found[1] if found else None

    def left_running(self, generated: str | None, running: str) -> list[str]:
        """
        Return what the kernel was booted with and grub.cfg no longer says, by name: a reboot ends it.

        Nothing where grub.cfg leaves words to variables of GRUB, such as tuned's.
        """
        words = _first_entry(generated or "")
        if not words or any(word.startswith("$") and word != _VT_HANDOFF for word in words):
            return []
        kept = {plain_name(word) for word in words} | LOADER_ADDS
        return [word for word in running.split() if plain_name(word) not in kept]


def _first_entry(grub_cfg: str) -> list[str]:
    """Return the words of all command lines of the first entry: several where GRUB chooses by an `if`."""
    first = _LINUX.search(grub_cfg)
    entry = _END.split(grub_cfg[first.start() :], maxsplit=1)[0] if first else ""
    return [word for found in _LINUX.finditer(entry) for word in found[1].split()]


GRUB = Grub()
