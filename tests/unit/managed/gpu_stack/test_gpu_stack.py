"""The pure parts: kernel releases, and which packages a choice leads to."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.gpu_stack.aspect import wanted_suites
from strixfleet.managed.kernel.kernel_release import at_least, has_fix, is_known_bad, newest
from strixfleet.managed.platforms.backends import backend_of
from strixfleet.managed.platforms.distributions import Distribution, distribution
from strixfleet.managed.things.package import Package


TRIXIE = distribution("debian", "13")
NOBLE = distribution("ubuntu", "24.04")


@pytest.mark.parametrize(
    ("release", "floor", "holds"),
    [
        ("6.18.4", "6.18.4", True),
        ("6.18.9+deb14-amd64", "6.18.4", True),
        ("7.2.12+deb13-amd64", "6.18.4", True),
        ("6.12.107+deb13-amd64", "6.18.4", False),
        ("6.18.3-200.fc43.x86_64", "6.18.4", False),
        ("6.17.0-19-generic", "6.17.0-19", True),
        ("6.17.0-19.19~24.04.2", "6.17.0-19", True),
        ("6.17.0-8-generic", "6.17.0-19", False),
        ("6.17.0-100-generic", "6.17.0-19", True),
        ("6.14.0-1018-oem", "6.14.0-1018", True),
        ("6.14.0-1017-oem", "6.14.0-1018", False),
        ("7.0.0-14-generic", "6.18.4", True),
        ("", "6.18.4", False),
        ("garbage", "6.18.4", False),
    ],
)
def test_releases_count_with_ubuntu_s_abi_number(release: str, floor: str, holds: bool) -> None:
    assert at_least(release, floor) is holds


@pytest.mark.parametrize(
    ("release", "fixed"),
    [
        ("6.14.0-1018-oem", True),
        ("6.14.0-1017-oem", False),
        ("6.17.0-1009-oem", False),  # another line than the one that AMD names
        ("6.17.0-19-generic", True),
        ("6.17.0-18-generic", False),
        ("6.17.0-19-lowlatency", False),
        ("6.14.0-1018-generic", False),
        ("6.17.9-061709-generic", False),  # mainline builds
        ("6.17.0-061700-generic", False),
        ("6.18.0-061800-generic", False),
        ("6.18.4-061804-generic", True),
        ("7.0.0-14-generic", True),
        ("6.17.2-1-pve", False),
    ],
)
def test_a_backported_fix_counts_in_its_line_and_flavour(release: str, fixed: bool) -> None:
    assert NOBLE
    assert has_fix(release, NOBLE.kernel.floors) is fixed


@pytest.mark.parametrize(
    ("known", "release", "own"),
    [
        (TRIXIE, "6.12.48+deb13-amd64", True),
        (TRIXIE, "6.12.57+deb13+1-cloud-amd64", True),
        (TRIXIE, "6.9.7+bpo-amd64", True),
        (TRIXIE, "6.1.0-13-amd64", True),
        (TRIXIE, "6.17.2-1-pve", False),
        (TRIXIE, "6.17.8-1-liquorix-amd64", False),
        (TRIXIE, "6.18.1-x64v3-xanmod1", False),
        (TRIXIE, "6.18.0", False),
        (NOBLE, "6.17.0-19-generic", True),
        (NOBLE, "6.14.0-1018-oem", True),
        (NOBLE, "6.18.0-061800-generic", False),
        (NOBLE, "6.8.12-4-pve", False),
    ],
)
def test_a_vendor_s_kernel_is_told_from_the_distribution_s(
    known: Distribution, release: str, own: bool
) -> None:
    assert bool(re.fullmatch(known.kernel.own, release)) is own


def test_the_newest_release_is_by_number_not_by_letter() -> None:
    assert newest(["6.9.1-amd64", "6.18.9-amd64", "6.18.10-amd64"]) == "6.18.10-amd64"
    assert newest([]) is None


@pytest.mark.parametrize(
    ("release", "bad"),
    [
        ("6.18.3", True),
        ("6.18.3-200.fc43", True),
        ("6.18.3+deb14", True),
        ("6.18.30", False),
        ("6.18.3.1", False),
    ],
)
def test_known_bad_means_that_version_and_its_builds(release: str, bad: bool) -> None:
    assert is_known_bad(release, ["6.18.3"]) is bad


@given(st.text())
def test_any_text_is_some_release(text: str) -> None:
    assert at_least(text, text) is bool(re.match(r"\d", text))  # without a number it is older than all
    assert is_known_bad(text, [text])


def packages(settings: HostSettings, known: Distribution) -> tuple[Package, ...]:
    return backend_of(settings.llama_cpp_backend).packages(settings, known)


def _settings(**values: object) -> HostSettings:
    return HostSettings.model_validate(values)


def test_debian_takes_firmware_from_backports_and_mesa_from_itself() -> None:
    assert TRIXIE
    rows = {wish.name: (wish.floor, wish.release) for wish in packages(_settings(), TRIXIE)}

    assert rows == {
        "firmware-amd-graphics": ("20260110", "trixie-backports"),
        "mesa-vulkan-drivers": ("25.0", None),
        "libvulkan1": (None, None),
    }


def test_the_inventory_overrides_floors_lists_and_sources() -> None:
    assert TRIXIE
    settings = _settings(
        gpu_stack_firmware_floor="20251111",
        gpu_stack_firmware_known_bad=[],
        gpu_stack_firmware_from="distribution",
        gpu_stack_mesa_from="backports",
        gpu_stack_mesa_floor="26.1",
    )
    rows = {wish.name: wish for wish in packages(settings, TRIXIE)}

    assert rows["firmware-amd-graphics"].floor == "20251111"
    assert rows["firmware-amd-graphics"].known_bad == ()
    assert rows["firmware-amd-graphics"].release is None
    assert (rows["mesa-vulkan-drivers"].floor, rows["mesa-vulkan-drivers"].release) == (
        "26.1",
        "trixie-backports",
    )


def test_the_cpu_needs_nothing() -> None:
    assert TRIXIE
    settings = _settings(llama_cpp_backend="cpu")

    assert packages(settings, TRIXIE) == ()
    assert wanted_suites(settings, TRIXIE) == {}


@pytest.mark.parametrize(("key", "version"), [("debian", "13"), ("ubuntu", "24.04"), ("ubuntu", "26.04")])
def test_every_distribution_has_each_part_where_it_says(key: str, version: str) -> None:
    known = distribution(key, version)

    assert known
    assert known.kernel.auto in known.kernel.packages
    assert {known.kernel.auto, known.firmware.auto, known.mesa.auto, *known.kernel.packages} <= set(
        known.suites
    )
    assert "default" in known.kernel.floors
    assert bool(known.rocm.packages) != bool(known.rocm.missing)
    assert known.tried is (key == "debian")
