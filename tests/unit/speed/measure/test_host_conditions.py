"""A host in the wrong state is not measured against anything."""

import pytest

from strixfleet.on_host.questions import Json
from strixfleet.speed.measure.answer_types import read_as
from strixfleet.speed.measure.host_conditions import HostConditions, MemoryNow, busy_remark, problems_of


GOOD: dict[str, Json] = {
    "governors": ["performance"],
    "drivers": ["amd-pstate-epp"],
    "preferences": ["performance"],
    "platform_profile": "performance",
    "gpu_levels": ["auto"],
    "temperatures_c": {"k10temp temp1": 52.0, "amdgpu temp1": 49.0},
    "on_mains": True,
    "cpu_busy_share": 0.02,
    "gpu_clocks": ["0: 600Mhz"],
    "gpu_users": [],
    "memory": {"available_bytes": 1, "gtt_total": 2, "gtt_used": 3, "vram_total": 4, "vram_used": 5},
    "cores": 32,
}


def test_a_good_state_is_silent() -> None:
    assert problems_of(read_as(HostConditions, GOOD)) == ()
    assert problems_of(HostConditions()) == ()


def test_powersave_of_amd_pstate_is_no_fault() -> None:
    assert problems_of(read_as(HostConditions, {**GOOD, "governors": ["powersave"]})) == ()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"governors": ["powersave"], "drivers": ["acpi-cpufreq"]}, "governor is powersave"),
        ({"preferences": ["power"]}, "energy preference is power"),
        ({"platform_profile": "low-power"}, "platform profile is low-power"),
        ({"gpu_levels": ["low"]}, "lowest clock"),
        ({"temperatures_c": {"k10temp temp1": 97.0}}, "97 °C"),
        ({"on_mains": False}, "battery"),
        ({"gpu_users": [{"pid": 7, "name": "blend\x1b[31mer", "share": 0.9}]}, "process 7"),
    ],
)
def test_each_wrong_state_is_named(change: dict[str, Json], word: str) -> None:
    found = problems_of(read_as(HostConditions, {**GOOD, **change}))
    assert len(found) == 1
    assert word in found[0]
    assert found[0].isprintable()


def test_what_a_host_says_reaches_the_json_of_bench_unchanged() -> None:
    users: list[Json] = [{"pid": 7, "name": "blender", "share": 0.9}]
    answer: dict[str, Json] = {**GOOD, "gpu_users": users}
    assert read_as(HostConditions, answer).to_json() == answer


def test_other_work_is_said_by_its_share() -> None:
    assert busy_remark(0.1, 0.05) == ""
    assert "40% of the CPU busy before" in busy_remark(0.4, 0.0)
    assert "30% of the CPU during" in busy_remark(0.0, 0.3)


def test_a_slower_bus_than_before_is_said() -> None:
    assert (MemoryNow(40.0, 47.0).remark, MemoryNow(40.0, 47.0).share) == ("", 1.0)
    assert (MemoryNow(0.0, 47.0).remark, MemoryNow().share) == ("", 1.0)
    assert MemoryNow(20.0, 40.0).remark.startswith("memory reads at 20.0 GB/s now")
    assert MemoryNow(20.0, 40.0).share == 0.5
