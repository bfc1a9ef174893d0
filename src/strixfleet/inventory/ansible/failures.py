"""Ansible's failures and warnings as sentences and mistakes."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from strixfleet.errors import Mistake, MistakeCode
from strixfleet.inventory.ansible.values import Place, place_of, reason, secret_hint
from strixfleet.inventory.files.ini_file import has_sections


CAUSES_SHOWN = 4


def sentence(summary: Any) -> str:
    """Return a warning with its causes as one line."""
    text, event = "", summary.event
    for _ in range(CAUSES_SHOWN):
        more = str(event.msg).strip().rstrip(".")
        text = text if more in text else f"{text}: {more}" if text else more
        if event.chain is None:
            break
        event = event.chain.event
    return re.sub(r"\s+", " ", text)


def failures(error: Any, warnings: Sequence[Any], sources: tuple[str, ...]) -> tuple[Mistake, ...]:
    """Turn Ansible's failure into a mistake; the warnings before it have the cause."""
    place = place_of(getattr(error, "obj", None))
    message = reason(error)
    named = re.search(r"(/[^\n\"']+?)(?=['\":]|$)", message)
    if place is None or not place.file.startswith("/"):
        place = Place(named[1] if named else sources[0] if sources else "", 0)
    if "failed to parse inventory source" in message:
        message = f"cannot be read as an inventory: {_cause(warnings, ini=has_sections(Path(place.file)))}"
    secret = "vault" in message.lower() or "decrypt" in message.lower()
    hint = secret_hint(message) if secret else "see what `ansible-inventory --list` says"
    return (Mistake(message, place.file, place.line, hint=hint, code=MistakeCode.UNREADABLE),)


def _cause(warnings: Sequence[Any], *, ini: bool) -> str:
    """Return the reason of the plugin that most likely was meant to read the file."""
    causes = {}
    for summary in warnings:
        match = re.match(r"Failed to parse inventory with '(.+?)' plugin(?:: (.*))?", sentence(summary))
        if match:
            causes[match[1]] = match[2] or "no reason given"
    likely = ("script", "ini") if ini else ("script", "yaml", "ini")
    order = [name for name in likely if name in causes]
    return causes[order[0]] if order else next(iter(causes.values()), "no inventory plugin accepts it")
