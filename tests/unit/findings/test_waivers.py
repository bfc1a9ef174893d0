"""A waiver accepts a known difference until its date, and never what could not be read."""

from datetime import date

import pytest

from strixfleet.findings.items import Cost, Cure, Difference, Status, waive
from strixfleet.inventory.schema.parts import Waiver


WAIVER = Waiver(item="kernel:x", reason="a friend's box", expires=date(2026, 12, 1))


@pytest.mark.parametrize(
    ("status", "today", "after"),
    [
        (Status.DRIFT, date(2026, 12, 1), Status.WAIVED),
        (Status.PENDING_REBOOT, date(2026, 11, 1), Status.WAIVED),
        (Status.DRIFT, date(2026, 12, 2), Status.DRIFT),
        (Status.UNKNOWN, date(2026, 11, 1), Status.UNKNOWN),
        (Status.OK, date(2026, 11, 1), Status.OK),
    ],
)
def test_what_is_waived(status: Status, today: date, after: Status) -> None:
    row = Difference("kernel:x", status, 1, 2, Cure.PROVISION, Cost.NONE)
    assert waive([row], [WAIVER], today)[0].status is after
