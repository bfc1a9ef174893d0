"""
Hardware profiles, the boxes known by name, and how both are recognised.

The profile follows from the GPU's PCI id and the installed memory; DMI only names the box. So a box with
new DMI strings works like a known one, and hardware whose GPU is unknown gets no profile.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType


GIB = 1024**3
STRIX_HALO_PCI = "1002:1586"  # Radeon 8060S, 8050S, 8040S: https://pci-ids.ucw.cz/read/PC/1002/1586
STRIX_POINT_PCI = "1002:150e"  # Radeon 890M and 880M
APU_PCI = frozenset({STRIX_HALO_PCI, STRIX_POINT_PCI})
HALO_BANDWIDTH_GB_S = 256.0  # 256 bit LPDDR5X-8000: 32 bytes x 8e9/s; 212 to 234 are measured
LEAST_SHARE_OF_TIER = 0.85  # firmware and kernel hold back 2 to 5 GiB of 128; tiers lie 33 % apart


@dataclass(frozen=True, slots=True)
class Profile:
    """
    What is assumed of a class of hosts; None is read from the machine.

    `gtt_gib` is the default for `kernel_gtt_gib: auto`; `reserve_gib` is what any setting leaves to the OS.
    """

    name: str
    memory_gib: int | None
    bandwidth_gb_s: float | None
    gtt_gib: int | None
    reserve_gib: int
    gfx: str
    physical_cores: int | None
    description: str


@dataclass(frozen=True, slots=True)
class Box:
    """
    A machine one can buy: patterns of its DMI strings, its GPU, and the family of its profile.

    Patterns are regular expressions, searched ignoring case; each one that is set has to match.
    """

    name: str
    label: str
    vendor: str
    product: str
    board: str
    family: str
    pci_id: str
    memory_gib: int  # the largest size sold, and what a sandbox simulates


@dataclass(frozen=True, slots=True)
class Recognition:
    """The box and the profile of a machine, each None when unknown, and why."""

    box: Box | None
    profile: str | None
    reason: str


def _halo(memory_gib: int, cores: int, chip: str) -> Profile:
    return Profile(
        name=f"strix-halo-{memory_gib}",
        memory_gib=memory_gib,
        bandwidth_gb_s=HALO_BANDWIDTH_GB_S,
        gtt_gib=gtt_gib_of_installed(memory_gib),
        reserve_gib=4,
        gfx="gfx1151",
        physical_cores=cores,
        description=f"Strix Halo, {memory_gib} GB LPDDR5X on 256 bit ({chip})",
    )


def gtt_gib_of_installed(memory_gib: int) -> int:
    """
    Return how much of the installed memory the GPU may address: all but 8 GiB, at least half.

    Sources: 128 -> 120 (lhl, bhamm-lab, LLMKube), 96 -> 88 (agledger), 64 -> 56 (59 is in use), 32 -> 24
    (only "leave 4 to 8 for the OS" is published). The full 131072 MiB of 128 GB is published too: not copied.
    """
    return max(memory_gib - 8, memory_gib // 2)


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            _halo(128, 16, "Ryzen AI Max+ 395"),
            _halo(96, 16, "Ryzen AI Max+ 395"),
            _halo(64, 16, "Ryzen AI Max+ 395"),
            _halo(32, 8, "Ryzen AI Max 385"),
            Profile(
                name="strix-point",
                memory_gib=None,
                bandwidth_gb_s=None,
                gtt_gib=None,
                reserve_gib=4,
                gfx="gfx1150",
                physical_cores=None,
                description="Strix Point: memory size and speed are found from the machine",
            ),
            Profile(
                name="sandbox",
                memory_gib=None,
                bandwidth_gb_s=None,
                gtt_gib=None,
                reserve_gib=4,
                gfx="gfx1151",
                physical_cores=None,
                description="a disposable host on this machine: simulated GPU memory, measured speed",
            ),
        )
    }
)

_HALO = ("strix-halo", STRIX_HALO_PCI, 128)
_POINT = ("strix-point", STRIX_POINT_PCI, 64)

# Vendor and board strings differ between batches of small makers: only what names the product is asked for.
BOXES: tuple[Box, ...] = (
    Box("framework-desktop", "Framework Desktop", r"^Framework$", r"^(Framework )?Desktop", "", *_HALO),
    Box("framework-13", "Framework 13 (Ryzen AI 300)", r"^Framework$", r"13 \(AMD Ryzen AI 300", "", *_POINT),
    Box("gmktec-evo-x2", "GMKtec EVO-X2", "", r"EVO-X2", "", *_HALO),
    Box("bosgame-m5", "Bosgame M5", "", r"^(Bosgame )?M5\b", r"AXB35-02", *_HALO),
    Box("minisforum-ms-s1-max", "Minisforum MS-S1 Max", "", r"MS-S1 ?MAX", "", *_HALO),
    Box("beelink-gtr9-pro", "Beelink GTR9 Pro", "", r"GTR9", "", *_HALO),
    Box("amd-ryzen-ai-halo", "AMD Ryzen AI Halo", r"AMD", r"Ryzen AI Halo", "", *_HALO),
    Box("hp-zbook-ultra-g1a", "HP ZBook Ultra G1a", r"^HP", r"ZBook Ultra G1a", "", *_HALO),
    Box("hp-z2-mini-g1a", "HP Z2 Mini G1a", r"^HP", r"Z2 Mini G1a", "", *_HALO),
    Box("asus-rog-flow-z13", "ASUS ROG Flow Z13", r"ASUS", r"Flow Z13 GZ302", "", *_HALO),
    # Last: the bare board of the EVO-X2 and the M5, which other sellers use as well.
    Box("sixunited-axb35-02", "a box on the Sixunited AXB35-02 board", "", "", r"AXB35-02", *_HALO),
)

_TIERS_GIB = tuple(sorted(p.memory_gib for p in PROFILES.values() if p.memory_gib is not None))


def recognise(dmi: Mapping[str, str], pci_ids: Iterable[str], memory_bytes: int) -> Recognition:
    """
    Name the box by DMI, and choose the profile by GPU and installed memory.

    `dmi` is keyed as in /sys/class/dmi/id; `pci_ids` are `vendor:device` in hex; `memory_bytes` is MemTotal
    plus the carve-out (`mem_info_vram_total`), which is less than the installed memory: firmware and kernel
    hold back the rest.
    """
    gpus = sorted({normal_pci_id(pci_id) for pci_id in pci_ids})
    if STRIX_HALO_PCI in gpus:
        profile, why = _halo_profile(memory_bytes)
        box, why = _box_of(dmi, STRIX_HALO_PCI), f"GPU {STRIX_HALO_PCI} is Strix Halo (gfx1151), {why}"
    elif STRIX_POINT_PCI in gpus:
        profile, why = "strix-point", f"GPU {STRIX_POINT_PCI} is Strix Point (gfx1150)"
        box = _box_of(dmi, STRIX_POINT_PCI)
    else:
        found = ", ".join(gpus) or "none"
        return Recognition(None, None, f"no known GPU (found: {found}); set hardware_profile")
    return Recognition(box, profile, why if box else f"{why}; DMI does not name a known box")


def normal_pci_id(text: str) -> str:
    """Return a PCI id as `vendor:device` in lower-case hex without prefixes."""
    return ":".join(part.strip().lower().removeprefix("0x").zfill(4) for part in text.split(":"))


def _halo_profile(memory_bytes: int) -> tuple[str | None, str]:
    memory_gib = memory_bytes / GIB
    for tier_gib in _TIERS_GIB:
        if tier_gib * LEAST_SHARE_OF_TIER <= memory_gib <= tier_gib:
            return f"strix-halo-{tier_gib}", f"{memory_gib:.1f} GiB visible of {tier_gib} GB"
    tiers = ", ".join(map(str, _TIERS_GIB))
    return None, f"but {memory_gib:.1f} GiB is not one of its sizes ({tiers} GB); set hardware_profile"


def _box_of(dmi: Mapping[str, str], pci_id: str) -> Box | None:
    return next((box for box in BOXES if box.pci_id == pci_id and _matches(box, dmi)), None)


def _matches(box: Box, dmi: Mapping[str, str]) -> bool:
    wanted = (
        (box.vendor, dmi.get("sys_vendor", "")),
        (box.product, dmi.get("product_name", "")),
        (box.board, dmi.get("board_name", "")),
    )
    return all(not pattern or re.search(pattern, text, re.IGNORECASE) for pattern, text in wanted)
