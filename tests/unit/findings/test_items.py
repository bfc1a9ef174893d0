"""Which differences provision can do something about."""

import pytest

from strixfleet.findings.items import Cost, Cure, Difference, Status


@pytest.mark.parametrize(
    ("status", "cure", "work"),
    [
        (Status.DRIFT, Cure.PROVISION, True),
        (Status.PENDING_REBOOT, Cure.REBOOT, True),
        (Status.DRIFT, Cure.MANUAL, False),
        (Status.OK, Cure.PROVISION, False),
        (Status.WAIVED, Cure.PROVISION, False),
        (Status.UNKNOWN, Cure.PROVISION, False),
    ],
)
def test_provision_has_work_only_where_something_is_known_to_differ(
    status: Status, cure: Cure, work: bool
) -> None:
    row = Difference("gpu_stack:held", status, "held", None, cure, Cost.NONE)
    assert row.calls_for_provision is work
