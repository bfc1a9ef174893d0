"""How values read: the same words in every medium, and inert whatever a host put into them."""

import re
from math import isfinite

from strixfleet.on_host.questions import Json


_LONGEST = 300
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DIGEST_CHARS = 12
_DECIMALS = ((100.0, 0), (10.0, 1))
GIB = 1 << 30


def inert(text: str) -> str:
    """Make text from a host fit to be shown: no control characters, no endless lines."""
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"


def value(json: Json) -> str:
    """Write a value of an item for people: a map as `key value`, a list by commas, null as `absent`."""
    if json is None:
        return "absent"
    if isinstance(json, bool):
        return "yes" if json else "no"
    if isinstance(json, dict):
        return ", ".join(f"{inert(key)} {value(item)}" for key, item in json.items()) or "nothing"
    if isinstance(json, list):
        return ", ".join(value(item) for item in json) or "nothing"
    text = inert(str(json)) or '""'
    return f"{text[:_DIGEST_CHARS]}…" if _DIGEST.fullmatch(text) else text


def steps(have: Json, want: Json) -> list[str]:
    """Write old → new, a line for each; of two maps only what differs, key by key."""
    if isinstance(have, dict) and isinstance(want, dict):
        keys = [key for key in {**want, **have} if have.get(key) != want.get(key)]
        return [f"{inert(key)}: {value(have.get(key))} → {value(want.get(key))}" for key in keys]
    return [f"{value(have)} → {value(want)}"]


def speed(tps: float | None) -> str:
    """Write tokens per second with about three digits."""
    if tps is None or not isfinite(tps):
        return "-"
    decimals = next((digits for least, digits in _DECIMALS if tps >= least), 2)
    return f"{tps:.{decimals}f}"


def band(floor: float | None, ceiling: float | None) -> str:
    """Write an expectation's band."""
    if floor is None:
        return ""
    known = ceiling is not None and isfinite(ceiling)
    return f"{speed(floor)} to {speed(ceiling)}" if known else f"from {speed(floor)}"


def counted(number: int, noun: str) -> str:
    """Write `1 host`, `2 hosts`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def simulated(text: str) -> str:
    """Mark a host that presents a simulated box, in the words that its tree has for it."""
    return inert(text) if "simulat" in text.lower() else f"simulated: {inert(text)}"
