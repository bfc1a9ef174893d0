"""The pure parts: kernel releases, apt sources, and which packages a choice leads to."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strixfleet import assets
from strixfleet.findings.items import Cure, Status, diff
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.aspect import Situation
from strixfleet.managed.facts import Facts
from strixfleet.managed.gpu_stack.aspect import GpuStack
from strixfleet.managed.gpu_stack.gpu_packages import package_wishes, wanted_suites
from strixfleet.managed.kernel.kernel_release import at_least, flavour_floor, is_known_bad, newest
from strixfleet.managed.platforms.apt_sources import (
    OUR_TAILSCALE,
    PARTS,
    Missing,
    added,
    contradicting,
    mirror_of,
    missing_of,
    parse_sources,
    sources_of,
)
from strixfleet.managed.platforms.distributions import distribution
from strixfleet.on_host.ask import globbed
from strixfleet.on_host.questions import Answer, Answers, Json


TRIXIE = distribution("debian", "13")
NOBLE = distribution("ubuntu", "24.04")
DEB822 = """# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: trixie trixie-updates
Components: main
 contrib
Signed-By: /usr/share/keyrings/own.gpg

Types: deb
URIs: http://security.example/debian-security
Suites: trixie-security
Components: main

Enabled: no
Types: deb
URIs: http://mirror.example/debian
Suites: trixie-backports
Components: main
"""


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


def test_a_flavour_has_its_own_floor() -> None:
    assert NOBLE
    assert flavour_floor(NOBLE.kernel.floors, "6.14.0-1018-oem") == "6.14.0-1018"
    assert flavour_floor(NOBLE.kernel.floors, "6.17.0-19-generic") == "6.17.0-19"


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


def test_sources_are_read_in_both_forms() -> None:
    lines = "deb [arch=amd64 signed-by=/k.gpg] http://x.example/d trixie-backports main # no more\n#deb a b"
    sources = parse_sources(
        {"/etc/apt/sources.list": lines, "/etc/apt/sources.list.d/debian.sources": DEB822}
    )

    assert [(one.suites, one.components, one.signed_by) for one in sources] == [
        (("trixie-backports",), ("main",), "/k.gpg"),
        (("trixie", "trixie-updates"), ("main", "contrib"), "/usr/share/keyrings/own.gpg"),
        (("trixie-security",), ("main",), ""),
    ]


def test_what_is_missing_comes_from_the_machine_s_own_mirror() -> None:
    sources = parse_sources({"debian.sources": DEB822})

    mirror = mirror_of(sources, "trixie", "debian")
    missing = missing_of(
        sources, [("trixie", ("main", "non-free-firmware")), ("trixie-backports", ("main",))]
    )

    assert mirror
    assert (mirror.uris, mirror.signed_by) == (
        ("http://mirror.example/debian",),
        "/usr/share/keyrings/own.gpg",
    )
    assert missing == (Missing("trixie", ("non-free-firmware",)), Missing("trixie-backports", ("main",)))


def test_what_a_suite_lacks_is_signed_as_the_suite_is_there() -> None:
    """apt refuses all its sources where two stanzas of one URI and suite are signed otherwise."""
    own = "deb http://mirror.example/debian/ trixie-backports main\n"
    sources = parse_sources({"backports.list": own, "debian.sources": DEB822})
    mirror = mirror_of(sources, "trixie", "debian")
    assert mirror
    lacking = (Missing("trixie-backports", ("non-free-firmware",)), Missing("trixie-x", ("main",)))
    more, other = added(lacking, sources, mirror)
    assert (more.uris, more.signed_by) == (("http://mirror.example/debian/",), "")
    assert (other.uris, other.signed_by) == (mirror.uris, mirror.signed_by)


def test_a_vendor_s_suite_is_no_mirror() -> None:
    vendor = "deb [signed-by=/v.gpg] https://apt.vendor.example/stable trixie main\n"
    mirror = mirror_of(parse_sources({"a-vendor.list": vendor, "debian.sources": DEB822}), "trixie", "debian")
    assert mirror
    assert mirror.uris != ("https://apt.vendor.example/stable",)


UBUNTU = (
    "Types: deb\nURIs: http://archive.ubuntu.com/ubuntu/\nSuites: noble noble-updates\nComponents: main\n"
)


@pytest.mark.parametrize(
    "uri", ["https://repo.radeon.com/amdgpu/7.2/ubuntu", "https://pkgs.vendor.example/stable/ubuntu"]
)
def test_a_vendor_whose_address_ends_like_a_mirror_s_is_none(uri: str) -> None:
    vendor = f"deb [signed-by=/v.gpg] {uri} noble main\n"
    mirror = mirror_of(parse_sources({"amdgpu.list": vendor, "ubuntu.sources": UBUNTU}), "noble", "ubuntu")
    assert mirror
    assert mirror.uris == ("http://archive.ubuntu.com/ubuntu/",)


@pytest.mark.parametrize(
    "options", [{"trusted": "yes"}, {"check-valid-until": "no", "snapshot": "20261101T000000Z"}]
)
def test_what_apt_compares_is_said_as_the_host_says_it(options: dict[str, str]) -> None:
    words = " ".join(f"{name}={value}" for name, value in options.items())
    sources = parse_sources({"x.list": f"deb [ arch=amd64 {words} ] http://mirror.lan/debian trixie main\n"})
    mirror = mirror_of(sources, "trixie", "debian")
    assert mirror
    assert (mirror.signed_by == "") is ("trusted" in options)
    rows = added((Missing("trixie", ("contrib",)), Missing("trixie-backports", ("main",))), sources, mirror)
    text = assets.render("host/etc/apt/sources.list.d/strixfleet.sources.j2", added=rows)
    again = parse_sources({"y.sources": text})
    assert again == rows
    assert all(dict(one.options) == options for one in again)


def test_a_source_that_cannot_be_copied_is_no_mirror() -> None:
    line = "deb [allow-insecure=yes] http://mirror.lan/debian trixie main\n"
    assert mirror_of(parse_sources({"x.list": line}), "trixie", "debian") is None


def test_our_sources_are_no_mirror_and_give_way_to_the_host_s() -> None:
    uris = "URIs: https://pkgs.tailscale.com/stable/debian\nSuites: trixie\nComponents: main\n"
    own = "deb [signed-by=/t.gpg] https://pkgs.tailscale.com/stable/debian/ trixie main\n"

    def answers(lists: dict[str, Json]) -> Answers:
        parts: dict[str, Json] = {OUR_TAILSCALE: f"Types: deb\n{uris}"}
        return Answers({PARTS[0]: Answer(lists), PARTS[1]: Answer(parts)})

    assert sources_of(answers({})) == ()
    assert not contradicting(answers({}))
    assert contradicting(answers({"/etc/apt/sources.list.d/tailscale.list": own}))
    host = Host("h", Connection("127.0.0.1"), HostSettings())
    both = answers({"/etc/apt/sources.list.d/tailscale.list": own})
    found = GpuStack.compile(Situation(host, Facts(), None, "", both))
    assert OUR_TAILSCALE in str(found.role_vars()["gpu_stack_absent"])
    rows = {row.id: row for row in diff(found.items(), found.observe(both))}
    row = rows[f"gpu_stack:{OUR_TAILSCALE}"]
    assert (row.status, row.cure) == (Status.DRIFT, Cure.PROVISION)


def test_a_key_within_a_source_is_kept() -> None:
    key = " -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n -----END PGP PUBLIC KEY BLOCK-----\n"
    uris = "URIs: https://deb.debian.org/debian\nSuites: trixie\nComponents: main\n"
    (source,) = parse_sources({"x.sources": f"Types: deb\n{uris}Signed-By:\n{key}"})
    text = assets.render("host/etc/apt/sources.list.d/strixfleet.sources.j2", added=[source])
    assert parse_sources({"y.sources": text}) == (source,)
    assert key.rstrip("\n") in text


def test_a_long_key_does_not_hide_what_stands_below(tmp_path: Path) -> None:
    """The archive keys of Debian are 12 kB, armoured."""
    key = "Signed-By:\n" + " mQINBF\n" * 2000
    (tmp_path / "x.sources").write_text(
        f"{DEB822.split('Signed-By', maxsplit=1)[0]}{key}\n{DEB822.split('own.gpg')[1]}"
    )
    texts = globbed(f"{tmp_path}/*.sources", "")
    found = parse_sources({path: text for path, text in texts.items() if text is not None})
    assert found[-1].suites == ("trixie-security",)


def test_no_mirror_is_no_mirror() -> None:
    assert mirror_of(parse_sources({"x.sources": DEB822}), "noble", "ubuntu") is None


@given(st.text())
def test_any_text_is_some_sources_file(text: str) -> None:
    found = parse_sources({"a.sources": text, "a.list": text})
    words = [word for one in found for word in (*one.uris, *one.suites, *one.components)]
    assert all(word.split() == [word] for word in words)


def _settings(**values: object) -> HostSettings:
    return HostSettings.model_validate(values)


def test_debian_takes_firmware_from_backports_and_mesa_from_itself() -> None:
    assert TRIXIE
    rows = {wish.name: (wish.floor, wish.release) for wish in package_wishes(_settings(), TRIXIE)}

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
    rows = {wish.name: wish for wish in package_wishes(settings, TRIXIE)}

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

    assert package_wishes(settings, TRIXIE) == ()
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
