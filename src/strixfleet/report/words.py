"""Write values for people, the same in every format, and safe to show."""

import re
from collections.abc import Iterable, Mapping
from math import isfinite

from strixfleet.on_host.questions import Json
from strixfleet.printable import printable


_MOST_CHARS = 300
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DIGEST_CHARS = 12
_DECIMALS = ((100.0, 0), (10.0, 1))


def inert(text: str) -> str:
    """Replace control characters in text from a host, and cut it if it is long."""
    return printable(text, _MOST_CHARS)


def value(json: Json) -> str:
    """Write the value of an item: a map as `key value`, a list with commas, null as `absent`."""
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
    """Write `old → new`; for two maps, one line for each key that differs."""
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
    """Write the range from floor to ceiling."""
    if floor is None:
        return ""
    known = ceiling is not None and isfinite(ceiling)
    return f"{speed(floor)} to {speed(ceiling)}" if known else f"from {speed(floor)}"


def counted(number: int, noun: str) -> str:
    """Write `1 host`, `2 hosts`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def cost_of(forecasts: Iterable[Mapping[str, Json]]) -> str:
    """Write `1 reboot, 2 builds, 1.3 GB, about 25 minutes`: hosts work side by side, the slowest counts."""
    rows = list(forecasts)

    def numbers(key: str) -> list[int]:
        return [value for row in rows if isinstance(value := row.get(key), int)]

    counts = ((sum(numbers(f"{noun}s")), noun) for noun in ("reboot", "build", "download"))
    parts = [counted(number, noun) for number, noun in counts if number]
    if size_bytes := sum(numbers("download_bytes")):
        parts.append(f"{size_bytes / 1e9:.1f} GB")
    if minutes := max(numbers("minutes"), default=0):
        parts.append(f"about {counted(minutes, 'minute')}")
    return ", ".join(parts)


def simulated(text: str) -> str:
    """Mark a host with simulated hardware."""
    return inert(text) if "simulat" in text.lower() else f"simulated: {inert(text)}"
