"""A GTT size that the machine cannot spare is refused before anything is written."""

import pytest

from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.kernel.aspect import kernel
from strixfleet.managed.kernel.gtt import most_gtt_gib
from strixfleet.managed.machine import Machine
from strixfleet.on_host.questions import Answers


HALO_128 = Machine(profile="strix-halo-128", gtt_gib=120, reserve_gib=4, visible_gib=124, carve_out_gib=1)


def problems(settings: HostSettings, machine: Machine) -> list[str]:
    """Return what keeps the host from being provisioned."""
    rows = [thing for thing in kernel(settings, machine) if thing.id == "kernel:gtt_fits_memory"]
    return [str(deed.arguments["text"]) for thing in rows for deed in thing.deeds(Answers({}))]


def test_a_size_larger_than_the_memory_found_refuses_the_host() -> None:
    (found,) = problems(HostSettings(kernel_gtt_gib=126), HALO_128)
    assert found.startswith("kernel_gtt_gib asks for 126 GiB, and this machine can spare 124: ")
    assert found.endswith("write kernel_gtt_gib: 124 or less, or check hardware_profile")


@pytest.mark.parametrize("gib", ["auto", 96, 120, 124])
def test_a_size_that_the_memory_allows_is_written(gib: int | str) -> None:
    assert problems(HostSettings.model_validate({"kernel_gtt_gib": gib}), HALO_128) == []


@pytest.mark.parametrize(
    ("machine", "most"),
    [
        (Machine(), None),
        (HALO_128, 124),
        (Machine(profile="strix-halo-128", visible_gib=62, reserve_gib=4), 58),
        (Machine(profile="strix-halo-128", visible_gib=31, carve_out_gib=96, reserve_gib=4), 27),
        (Machine(profile="strix-halo-128", visible_gib=7, simulated="a box", reserve_gib=4), 124),
        (Machine(visible_gib=62), 58),
        (Machine(visible_gib=3), 2),
        (Machine(profile="strix-halo-64", visible_gib=61, carve_out_gib=1, reserve_gib=4), 60),
        (Machine(profile="strix-point", visible_gib=60, carve_out_gib=2, reserve_gib=4), 58),
        (Machine(profile="sandbox", visible_gib=7, simulated="a box", reserve_gib=4), None),
    ],
)
def test_the_limit_is_what_profile_and_kernel_show(machine: Machine, most: int | None) -> None:
    assert most_gtt_gib(machine) == most
