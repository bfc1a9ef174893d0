"""How values read: the same words in every medium, and inert whatever a host put into them."""

from strixfleet.core.items import Difference
from strixfleet.core.questions import Json


_LONGEST = 300
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
    return inert(str(json)) or '""'


def sides(have: Json, want: Json) -> tuple[str, str]:
    """Write both sides; of two maps only what differs."""
    if isinstance(have, dict) and isinstance(want, dict):
        keys = [key for key in {**want, **have} if have.get(key) != want.get(key)]
        return (
            value({key: have.get(key) for key in keys}),
            value({key: want.get(key) for key in keys}),
        )
    return value(have), value(want)


def remark(row: Difference) -> str:
    """Give what is to be said of a row besides its two sides."""
    return inert(row.message)


def speed(tps: float | None) -> str:
    """Write tokens per second with about three digits."""
    if tps is None:
        return "-"
    decimals = next((digits for least, digits in _DECIMALS if tps >= least), 2)
    return f"{tps:.{decimals}f}"


def band(floor: float | None, ceiling: float | None) -> str:
    """Write an expectation's band."""
    return f"{speed(floor)} to {speed(ceiling)}" if floor is not None else ""


def counted(number: int, noun: str) -> str:
    """Write `1 host`, `2 hosts`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
