"""What must be true of a host, and how it differs: the one comparison behind audit and plan."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum

from strixfleet.on_host.questions import Json


class Status(StrEnum):
    """How an item stands."""

    OK = "ok"
    DRIFT = "drift"
    PENDING_REBOOT = "pending_reboot"
    UNKNOWN = "unknown"
    WAIVED = "waived"


class Cure(StrEnum):
    """What brings an item back."""

    PROVISION = "provision"
    REBOOT = "reboot"
    MANUAL = "manual"


class Cost(StrEnum):
    """What bringing an item back takes, cheapest first."""

    NONE = "none"
    RESTART = "restart"
    DOWNLOAD = "download"
    BUILD = "build"
    REBOOT = "reboot"


class Rule(StrEnum):
    """How `have` is held against `want`."""

    EQUAL = "equal"
    AT_MOST = "at_most"  # numbers
    AT_LEAST = "at_least"  # numbers
    VERSION_AT_LEAST = "version_at_least"  # dotted versions, compared number by number
    NONE_OF = "none_of"  # want is a list; have, or each of have, is not in it
    INCLUDES = "includes"  # want and have are lists


@dataclass(frozen=True, slots=True)
class Item:
    """
    One thing that must be true; `id` reads `aspect:key`.

    Where `want` is a map, `live` names the keys that show the running system: when only these differ, and the
    first of them does, a reboot is all that is missing. When the first is right and a later one is not, the
    system was booted as asked and it did not help: that is drift.
    """

    id: str
    want: Json
    cure: Cure = Cure.PROVISION
    cost: Cost = Cost.NONE
    rule: Rule = Rule.EQUAL
    live: tuple[str, ...] = ()
    message: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """What is true, in the shape of the item with the same id; `error` says why it could not be read."""

    id: str
    have: Json = None
    error: str | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """One row of an audit."""

    id: str
    status: Status
    want: Json
    have: Json
    cure: Cure
    cost: Cost
    message: str = ""

    @property
    def calls_for_provision(self) -> bool:
        """Tell whether `provision`, with its reboot, could make it as desired."""
        return self.status not in {Status.OK, Status.WAIVED} and self.cure is not Cure.MANUAL

    def to_json(self) -> dict[str, Json]:
        """Return the contract's `items[]` entry."""
        return {
            "id": self.id,
            "status": self.status.value,
            "want": self.want,
            "have": self.have,
            "cure": self.cure.value,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class Excuse:
    """A difference that the operator knows of, until a date (inclusive)."""

    item: str
    reason: str
    expires: date


def version_key(version: str) -> tuple[int, ...]:
    """Return the leading dotted numbers of a version: `6.18.9+deb14-amd64` is (6, 18, 9)."""
    found = re.match(r"\D*(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def _number(value: Json) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _compare_numbers(want: Json, have: Json, holds: Callable[[float, float], bool]) -> bool:
    left, right = _number(want), _number(have)
    return left is not None and right is not None and holds(left, right)


def _none_of(want: Json, have: Json) -> bool:
    bad = want if isinstance(want, list) else [want]
    found = have if isinstance(have, list) else [have]
    return not any(value in bad for value in found)


def _includes(want: Json, have: Json) -> bool:
    return isinstance(want, list) and isinstance(have, list) and all(value in have for value in want)


_RULES: Mapping[Rule, Callable[[Json, Json], bool]] = {
    Rule.EQUAL: lambda want, have: want == have,
    Rule.AT_MOST: lambda want, have: _compare_numbers(want, have, lambda w, h: h <= w),
    Rule.AT_LEAST: lambda want, have: _compare_numbers(want, have, lambda w, h: h >= w),
    Rule.VERSION_AT_LEAST: lambda want, have: (
        isinstance(have, str) and version_key(have) >= version_key(str(want))
    ),
    Rule.NONE_OF: _none_of,
    Rule.INCLUDES: _includes,
}


def _only_live_differs(item: Item, have: Json) -> bool:
    if not item.live or not isinstance(item.want, dict) or not isinstance(have, dict):
        return False
    if have.get(item.live[0]) == item.want.get(item.live[0]):
        return False
    return all(have.get(key) == value for key, value in item.want.items() if key not in item.live)


def compare(item: Item, observed: Observed | None) -> Difference:
    """Hold one item against what was observed."""
    have = observed.have if observed else None
    error = observed.error if observed else "was not observed"
    row = Difference(item.id, Status.OK, item.want, have, item.cure, item.cost)
    if error is not None:
        return replace(row, status=Status.UNKNOWN, message=error)
    message = (observed.message if observed else "") or item.message
    if _RULES[item.rule](item.want, have):
        return row
    if _only_live_differs(item, have):
        return replace(row, status=Status.PENDING_REBOOT, cure=Cure.REBOOT, cost=Cost.REBOOT, message=message)
    return replace(row, status=Status.DRIFT, message=message)


def diff(items: Iterable[Item], observed: Iterable[Observed]) -> tuple[Difference, ...]:
    """Hold all items against all observations; what was not observed is unknown, never fine."""
    by_id = {one.id: one for one in observed}
    return tuple(compare(item, by_id.get(item.id)) for item in items)


def waive(rows: Iterable[Difference], excuses: Iterable[Excuse], today: date) -> tuple[Difference, ...]:
    """
    Mark drifts that the operator excused; an excuse past its date excuses nothing and says so.

    What could not be read is no known difference: nothing excuses it.
    """
    known = {excuse.item: excuse for excuse in excuses}

    def judged(row: Difference) -> Difference:
        excuse = known.get(row.id)
        if excuse is None or row.status in {Status.OK, Status.WAIVED, Status.UNKNOWN}:
            return row
        if excuse.expires < today:
            return replace(row, message=f"{row.message} (waiver ended on {excuse.expires})".strip())
        return replace(row, status=Status.WAIVED, message=f"{excuse.reason} (until {excuse.expires})")

    return tuple(judged(row) for row in rows)
