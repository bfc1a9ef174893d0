"""A slow verdict comes with ranked reasons, each with evidence and a cure."""

from dataclasses import replace

import pytest

from strixfleet.findings.items import Cost, Cure, Difference, Status
from strixfleet.findings.verdict import Grade, Verdict
from strixfleet.speed.judge.slow_causes import SlowRunContext, explained, microseconds, slow_causes
from strixfleet.speed.measure.host_answer import ServerUnit
from strixfleet.speed.measure.host_conditions import HostConditions
from strixfleet.speed.measure.server_flags import ServerFlags


HEALTHY = SlowRunContext(
    host="h1",
    backend="vulkan",
    physical_cores=8,
    unit_name="llama-server@main.service",
    unit=ServerUnit(cores=tuple(range(16)), quota="infinity"),
    flags=ServerFlags(("llama-server", "--threads", "8"), {}),
    conditions=HostConditions(cores=16, governors=("performance",), temperatures_c={"k10temp": 50.0}),
    differences=(),
)
SLOW = Verdict("main", "m", "vulkan", "GPU", "tg128", 20.0, 50.0, 40.0, 60.0, Grade.SLOW, "20 of 50")


def drift(item: str, status: Status = Status.DRIFT, cure: Cure = Cure.PROVISION) -> Difference:
    return Difference(item, status, 1, 2, cure, Cost.NONE, "too large")


def test_a_healthy_host_has_none_and_that_is_said() -> None:
    assert slow_causes(HEALTHY) == ()
    (verdict,) = explained([SLOW], ())
    assert "nothing that was read on the host explains it" in verdict.reason


@pytest.mark.parametrize(
    ("change", "name", "evidence"),
    [
        ({"unit": replace(HEALTHY.unit, cores=(0, 1, 2, 3))}, "limited to some cores", "4 of 16"),
        ({"unit": replace(HEALTHY.unit, quota="4s")}, "time is limited", "400% of 16 cores"),
        ({"unit": replace(HEALTHY.unit, nice=19)}, "low priority", "nice 19"),
        ({"flags": ServerFlags(("--threads", "16"), {})}, "more threads than cores", "16 threads, 8"),
        ({"conditions": HostConditions(cores=16, temperatures_c={"a": 91.0})}, "hot", "91 °C"),
        ({"conditions": HostConditions(cores=16, governors=("powersave",))}, "saves power", "powersave"),
        ({"backend": "rocm"}, "mmap", "default"),
        ({"differences": (drift("kernel:carve_out", cure=Cure.MANUAL),)}, "kernel:carve_out", "too large"),
    ],
)
def test_each_cause_has_evidence_and_cure(change: dict[str, object], name: str, evidence: str) -> None:
    (cause,) = slow_causes(replace(HEALTHY, **change))  # type: ignore[arg-type] # the table names the fields
    assert name in cause.cause
    assert evidence in cause.evidence
    assert cause.cure


def test_the_likeliest_stands_first_and_three_are_named() -> None:
    rows = (
        drift("tuning:profile"),
        drift("gpu_stack:mesa"),
        drift("kernel:gtt_total", Status.PENDING_REBOOT),
    )
    known = replace(HEALTHY, unit=replace(HEALTHY.unit, cores=(0,)), differences=rows)
    found = slow_causes(known)
    assert [reason.cause for reason in found] == [
        "the unit is limited to some cores",
        "gpu_stack:mesa",
        "kernel:gtt_total",
        "tuning:profile",
    ]
    (verdict,) = explained([SLOW], found)
    assert "1. the unit is limited to some cores (1 of 16)" in verdict.reason
    assert "tuning" not in verdict.reason


def test_what_is_fine_or_unread_is_no_reason() -> None:
    rows = tuple(drift("kernel:gtt_total", status) for status in (Status.OK, Status.UNKNOWN, Status.WAIVED))
    assert slow_causes(replace(HEALTHY, differences=rows)) == ()


def test_only_slow_verdicts_are_explained() -> None:
    fine = replace(SLOW, grade=Grade.OK)
    assert explained([fine], ()) == (fine,)


@pytest.mark.parametrize(
    ("text", "want"),
    [("500ms", 500_000), ("1.500000s", 1_500_000), ("2min", 120_000_000), ("infinity", None), ("", None)],
)
def test_systemds_spans_are_read(text: str, want: int | None) -> None:
    assert microseconds(text) == want
