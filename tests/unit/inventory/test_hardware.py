"""Recognition of boxes: profile by GPU and memory, name by DMI, and silence about what is unknown."""

import pytest

from strixfleet.inventory.hardware import BOXES, GIB, PROFILES, gtt_gib_of_installed, recognise


HALO = "1002:1586"
POINT = "1002:150e"


@pytest.mark.parametrize(
    ("vendor", "product", "board", "box"),
    [
        ("Framework", "Desktop (AMD Ryzen AI Max 300 Series)", "FRANMFCP06", "framework-desktop"),
        ("GMKtec", "NucBox_EVO-X2", "GMKtec", "gmktec-evo-x2"),
        ("BOSGAME", "M5", "AXB35-02", "bosgame-m5"),
        ("Sixunited", "", "AXB35-02", "sixunited-axb35-02"),
        ("Micro Computer (HK) Tech Limited", "MS-S1 MAX", "SHWSA", "minisforum-ms-s1-max"),
        ("AZW", "GTR9 Pro", "GTR9", "beelink-gtr9-pro"),
        ("HP", "HP ZBook Ultra G1a 14 inch Mobile Workstation PC", "8D01", "hp-zbook-ultra-g1a"),
        ("AMD", "AMD Ryzen AI Halo", "", "amd-ryzen-ai-halo"),
    ],
)
def test_known_halo_boxes_share_the_profile(vendor: str, product: str, board: str, box: str) -> None:
    dmi = {"sys_vendor": vendor, "product_name": product, "board_name": board}
    found = recognise(dmi, ["1022:1507", HALO], int(125.4 * GIB))
    assert found.box is not None
    assert (found.box.name, found.profile) == (box, "strix-halo-128")


def test_framework_13_is_strix_point_whatever_its_memory() -> None:
    dmi = {"sys_vendor": "Framework", "product_name": "Laptop 13 (AMD Ryzen AI 300 Series)"}
    found = recognise(dmi, [POINT], 62 * GIB)
    assert found.box is not None
    assert (found.box.name, found.profile) == ("framework-13", "strix-point")


@pytest.mark.parametrize(
    ("visible_gib", "profile"),
    [
        (128.0, "strix-halo-128"),
        (122.7, "strix-halo-128"),  # 62816 MiB of GTT is half of this
        (94.0, "strix-halo-96"),
        (62.5, "strix-halo-64"),
        (30.6, "strix-halo-32"),
        (48.0, None),
        (256.0, None),
        (7.0, None),
    ],
)
def test_tier_is_the_next_above_what_is_visible(visible_gib: float, profile: str | None) -> None:
    found = recognise({}, [HALO], int(visible_gib * GIB))
    assert found.profile == profile
    assert found.box is None
    assert "GiB" in found.reason
    assert "DMI does not name" in found.reason


def test_big_carve_out_counts_as_installed_memory() -> None:
    assert recognise({}, [HALO], int(30.5 * GIB) + 96 * GIB).profile == "strix-halo-128"


def test_unknown_gpu_is_said_even_when_dmi_names_a_known_box() -> None:
    found = recognise({"sys_vendor": "Framework", "product_name": "Desktop"}, ["10de:2b85"], 64 * GIB)
    assert (found.box, found.profile) == (None, None)
    assert "10de:2b85" in found.reason


@pytest.mark.parametrize("spelling", ["0x1002:0x1586", "1002:1586", "1002:1586".upper()])
def test_pci_ids_are_read_in_every_spelling(spelling: str) -> None:
    assert recognise({}, [spelling], 120 * GIB).profile == "strix-halo-128"


@pytest.mark.parametrize(("memory_gib", "gtt_gib"), [(128, 120), (96, 88), (64, 56), (32, 24), (16, 8)])
def test_gtt_of_installed_memory_leaves_the_system_room(memory_gib: int, gtt_gib: int) -> None:
    assert gtt_gib_of_installed(memory_gib) == gtt_gib


def test_every_profile_leaves_its_reserve() -> None:
    for profile in PROFILES.values():
        if profile.memory_gib is not None and profile.gtt_gib is not None:
            assert profile.gtt_gib <= profile.memory_gib - profile.reserve_gib


def test_box_names_are_unique() -> None:
    assert len({box.name for box in BOXES}) == len(BOXES)
