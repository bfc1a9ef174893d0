"""One report with everything in it, hostile values included."""

from datetime import UTC, datetime

import pytest

from strixfleet.findings.items import Cost, Cure, Difference, Status
from strixfleet.findings.results import HostReport, Report
from strixfleet.findings.verdict import Grade, Verdict
from strixfleet.on_host.questions import Json


HOSTILE = "\x1b[31m[bold]<script>alert(1)</script>{{ 7 * 7 }}"
WHEN = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


@pytest.fixture
def report() -> Report:
    items = (
        Difference(
            "kernel:ttm.pages_limit",
            Status.PENDING_REBOOT,
            {"configured": "31457280", "running": "31457280"},
            {"configured": "31457280", "running": None},
            Cure.REBOOT,
            Cost.REBOOT,
        ),
        Difference("kernel:file:/etc/x", Status.DRIFT, "a" * 64, "b" * 64, Cure.PROVISION, Cost.NONE),
        Difference("gpu_stack:mesa", Status.UNKNOWN, "25.0", None, Cure.MANUAL, Cost.NONE, HOSTILE),
        Difference("tuning:profile", Status.WAIVED, 1, 2, Cure.PROVISION, Cost.NONE, "known (until 2027)"),
        Difference("llama_cpp:pin", Status.OK, "v1", "v1", Cure.PROVISION, Cost.BUILD),
    )
    verdicts = (
        Verdict("main", HOSTILE, "cpu", HOSTILE, "tg128", 12.3, 13.9, 11.1, float("inf"), Grade.OK, "89 %"),
        Verdict("main", "tiny", "cpu", "CPU", "pp512", 212.0, None, None, None, Grade.WRONG_DEVICE, HOSTILE),
        Verdict("main", "tiny", "cpu", "CPU", "served", None, 13.9, 11.1, 15.0, Grade.INVALID, "no answer"),
    )
    extra: dict[str, Json] = {
        "build": "v0.3.36-cpu-12345678",
        "notes": [HOSTILE],
        "instances": [{"name": "main", "state": "active", "health": "ok", "model": HOSTILE, "last_tps": 1.5}],
        "changed": ["kernel : write the drop-in"],
    }
    hosts = (
        HostReport("h1", True, simulated="Framework Desktop", items=items, verdicts=verdicts, extra=extra),
        HostReport("h2", False, error="h2: unreachable at 10.0.0.1:22: refused"),
    )
    return Report("audit", hosts, WHEN, WHEN)
