"""Kernel command lines: what stands in them, what GRUB boots by default, what only the running one has."""

import re

from strixfleet.on_host.questions import Json


LINUX = re.compile(r"^\s*linux(?:efi|16)?\s+\S+[ \t]*(.*)$", re.MULTILINE)
END = re.compile(r"^\s*\}\s*$", re.MULTILINE)
VT_HANDOFF = "$vt_handoff"  # Ubuntu's, which becomes vt.handoff=7
LOADER_ADDS = frozenset({"BOOT_IMAGE", "initrd", "vt.handoff"})


def plain_name(word: str) -> str:
    """Return an argument's name in the kernel's spelling, without quotes and escapes that grub.cfg adds."""
    return re.sub(r"[\\\"']", "", word.partition("=")[0]).replace("-", "_")


def occurrences(command_line: str, name: str) -> Json:
    """Return the value of an argument: None absent, "" a bare flag, a list where it stands more than once."""
    values: list[Json] = []
    for word in command_line.split():
        key, equals, value = word.partition("=")
        if plain_name(key) == plain_name(name):
            values.append(value.strip('"') if equals else "")
    if len(values) > 1:
        return values
    return values[0] if values else None


def configured_command_line(grub_cfg: str | None) -> str | None:
    """Return the command line of the first entry of grub.cfg, which is what boots by default."""
    found = LINUX.search(grub_cfg or "")
    return found[1] if found else None


def _first_entry(grub_cfg: str) -> list[str]:
    """Return the words of all command lines of the first entry: several where GRUB chooses by an `if`."""
    first = LINUX.search(grub_cfg)
    entry = END.split(grub_cfg[first.start() :], maxsplit=1)[0] if first else ""
    return [word for found in LINUX.finditer(entry) for word in found[1].split()]


def left_running(grub_cfg: str | None, running: str) -> list[Json]:
    """
    Return what the kernel was booted with and grub.cfg no longer says, by name: a reboot ends it.

    Nothing where grub.cfg leaves words to variables of GRUB, such as tuned's.
    """
    words = _first_entry(grub_cfg or "")
    if not words or any(word.startswith("$") and word != VT_HANDOFF for word in words):
        return []
    kept = {plain_name(word) for word in words} | LOADER_ADDS
    return [word for word in running.split() if plain_name(word) not in kept]
