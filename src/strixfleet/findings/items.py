"""What must be true of a host, and how it differs: the one comparison behind audit and plan."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum

from strixfleet.inventory.schema.parts import Waiver
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
    AT_LEAST_IF_ANY = "at_least_if_any"  # numbers; have may be absent
    NONE_OF = "none_of"  # want is a list; have, or each of have, is not in it
    KNOWN = "known"  # want describes, have is anything but absent


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
        """Tell whether `provision` could cure it, a reboot included; what is unknown calls for nothing."""
        return self.status in {Status.DRIFT, Status.PENDING_REBOOT} and self.cure is not Cure.MANUAL

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


def version_key(version: str) -> tuple[int, ...]:
    """Return the leading dotted numbers of a version: `6.18.9+deb14-amd64` is (6, 18, 9)."""
    found = re.match(r"\D*(\d{1,18}(?:\.\d{1,18})*)", version)
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


RULES: Mapping[Rule, Callable[[Json, Json], bool]] = {
    Rule.EQUAL: lambda want, have: want == have,
    Rule.AT_MOST: lambda want, have: _compare_numbers(want, have, lambda w, h: h <= w),
    Rule.AT_LEAST_IF_ANY: lambda want, have: (
        have is None or _compare_numbers(want, have, lambda w, h: h >= w)
    ),
    Rule.NONE_OF: _none_of,
    Rule.KNOWN: lambda _want, have: have is not None,
}


def waive(rows: Iterable[Difference], waivers: Iterable[Waiver], today: date) -> tuple[Difference, ...]:
    """
    Mark the drifts that the operator accepts; a waiver past its date accepts nothing and says so.

    What could not be read is not a known difference: no waiver covers it.
    """
    known = {waiver.item: waiver for waiver in waivers}

    def judged(row: Difference) -> Difference:
        waiver = known.get(row.id)
        if waiver is None or row.status in {Status.OK, Status.WAIVED, Status.UNKNOWN}:
            return row
        if waiver.expires < today:
            return replace(row, message=f"{row.message} (waiver expired on {waiver.expires})".strip())
        return replace(row, status=Status.WAIVED, message=f"{waiver.reason} (until {waiver.expires})")

    return tuple(judged(row) for row in rows)
