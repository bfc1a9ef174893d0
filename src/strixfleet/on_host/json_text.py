"""
Read JSON that was written elsewhere: a host's answer, a record on a disk that may be dying.

What is damaged, deep or huge is a ValueError where it is read, so that no later step stumbles over it: a
document that is nested too deeply, a number that no counter has, NaN. Text is made fit to be printed.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


DEPTH_MAX = 64
INTEGER_MAX = 2**64  # an inode, a time in nanoseconds


def parsed(text: str | bytes) -> Any:
    """Return the value of a JSON text; raise ValueError where it is damaged."""
    try:
        value = json.loads(text, parse_constant=_refused, parse_int=_integer, parse_float=_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return _plain(value, DEPTH_MAX)


def parsed_map(text: str | bytes) -> dict[str, Any]:
    """Return the value of a JSON text that has to be a map; raise ValueError where it is not."""
    value = parsed(text)
    if not isinstance(value, dict):
        raise ValueError("it is not a map")  # noqa: TRY004 - one error for all that is damaged
    return value


def _refused(word: str) -> NoReturn:
    raise ValueError("%s is not a number" % word)


def _integer(digits: str) -> int:
    if len(digits) > len(str(INTEGER_MAX)) or abs(int(digits)) > INTEGER_MAX:
        raise ValueError("a number is too large")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _plain(value: Any, depth: int) -> Any:
    """Return a value whose text can be encoded: a file name that is not UTF-8 arrives as lone surrogates."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if not isinstance(value, (dict, list)):
        return value
    if depth == 0:
        raise ValueError("it is nested too deeply")
    if isinstance(value, list):
        return [_plain(one, depth - 1) for one in value]
    return {_plain(key, depth - 1): _plain(one, depth - 1) for key, one in value.items()}
