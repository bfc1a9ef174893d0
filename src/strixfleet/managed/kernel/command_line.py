"""Kernel command lines: the names and values that stand in them."""

import re

from strixfleet.on_host.questions import Json


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
