"""Which arguments are wanted: the size's, then the inventory's, each name once."""

from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.kernel.aspect import wanted_arguments
from strixfleet.managed.machine import Machine
from strixfleet.on_host.questions import Json


def wanted(kernel_line: str, arguments: Json, **settings: Json) -> list[tuple[str, str | None]]:
    given = HostSettings.model_validate({"kernel_gtt_gib": 1, "kernel_arguments": arguments, **settings})
    return list(wanted_arguments(given, Machine(kernel_line=kernel_line)).items())


def test_the_one_of_the_two_that_is_not_written_must_be_absent() -> None:
    pages, mib = "262144", "1024"
    assert wanted("6.18", {}) == [("ttm.pages_limit", pages), ("amdgpu.gttsize", None)]
    assert wanted("6.12", {}) == [("ttm.pages_limit", pages), ("amdgpu.gttsize", mib)]
    gttsize = wanted("6.18", {}, kernel_gtt_parameters="gttsize")
    assert gttsize == [("ttm.pages_limit", None), ("amdgpu.gttsize", mib)]


def test_two_spellings_are_one_argument_and_the_last_wins() -> None:
    both = wanted("6.18", {"snd-hda-intel.x": 1, "quiet": None, "snd_hda_intel.x": 2})
    assert both[2:] == [("quiet", ""), ("snd_hda_intel.x", "2")]
    assert wanted("6.12", {"amdgpu.gttsize": "absent"})[-1] == ("amdgpu.gttsize", None)
