"""The simulated tree follows the boot configuration as a kernel would."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from strixfleet.inventory.hardware import BOXES, GIB, recognise
from strixfleet.sandbox.boxes import box_facts
from tests.conftest import ROOT


BASE = ROOT / "templates" / "sandbox" / "base"
HALF_OF_128_GIB = 63973  # MiB, seen on real boxes with 512 MiB of carve-out


def _guest_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "simulate_hardware", BASE / "usr/lib/strixfleet-sandbox/simulate_hardware.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


SCRIPT = _guest_script()
GTT = "sys/class/drm/card1/device/mem_info_gtt_total"
KFD = "sys/class/kfd/kfd/topology/nodes/1/mem_banks/0/properties"


def tree(arguments: str, modprobe: str = "", release: str = "6.18.9") -> dict[str, str]:
    files: dict[str, str] = SCRIPT.files_of(box_facts("framework-desktop"), release, arguments, modprobe)
    return files


def gtt_mib(arguments: str, modprobe: str = "") -> int:
    return int(tree(arguments, modprobe)[GTT]) // 1024**2


@pytest.mark.parametrize(
    ("arguments", "want_mib"),
    [
        ("ro quiet", HALF_OF_128_GIB),
        ("ttm.pages_limit=31457280", 120 * 1024),
        ("ttm.pages_limit=0x1e00000", 120 * 1024),
        ("ttm.pages_limit=31457280 ttm.pages_limit=25165824", 96 * 1024),  # the last one wins
        ("ttm.page_limit=31457280", HALF_OF_128_GIB),  # misspelt: ignored
        ("ttm.pages-limit=31457280", 120 * 1024),  # a dash is an underscore
        ("amdttm.pages_limit=31457280", HALF_OF_128_GIB),  # the out-of-tree driver's name
        ("ttm.pages_limit=120GiB", HALF_OF_128_GIB),  # no number: refused
        ("amdgpu.gttsize=117760", 115 * 1024),
        ("amdgpu.gttsize=-1 ttm.pages_limit=31457280", 120 * 1024),
        ("amdgpu.gttsize=122880 ttm.pages_limit=25165824", 120 * 1024),
        ("pages_limit=31457280 gttsize=122880", HALF_OF_128_GIB),
    ],
)
def test_gtt_is_what_the_kernel_would_make_of_the_arguments(arguments: str, want_mib: int) -> None:
    assert abs(gtt_mib(arguments) - want_mib) <= 1


def test_gttsize_alone_does_not_raise_what_hip_may_use() -> None:
    files = tree("amdgpu.gttsize=117760")
    hip_bytes = int(files[KFD].split("size_in_bytes ")[1].split()[0])
    assert int(files[GTT]) == 115 * GIB
    assert abs(hip_bytes // 1024**2 - HALF_OF_128_GIB) <= 1


def test_module_options_count_from_the_initramfs_and_the_command_line_is_stronger() -> None:
    options = "# a comment\noptions ttm pages_limit=25165824 page_pool_size=1000\n"
    assert gtt_mib("quiet", options) == 96 * 1024
    assert gtt_mib("ttm.pages_limit=31457280", options) == 120 * 1024
    assert tree("quiet", options)["sys/module/ttm/parameters/page_pool_size"] == "1000\n"


def test_parameters_are_reported_as_the_kernel_took_them() -> None:
    files = tree(
        "ttm.pages_limit=31457280 amdgpu.lockup_timeout=10000,60000 amdgpu.cwsr_enable=0 amdgpu.nonsense=1"
    )
    assert files["sys/module/ttm/parameters/pages_limit"] == "31457280\n"
    assert files["sys/module/amdgpu/parameters/gttsize"] == "-1\n"
    assert files["sys/module/amdgpu/parameters/lockup_timeout"] == "10000,60000\n"
    assert files["sys/module/amdgpu/parameters/cwsr_enable"] == "0\n"
    assert "sys/module/amdgpu/parameters/nonsense" not in files


@pytest.mark.parametrize(
    ("arguments", "present"),
    [
        ("quiet", True),
        ("amd_iommu=off", False),
        ("amd_iommu=pt", True),
        ("iommu=pt", True),
        ("iommu=off", False),
    ],
)
def test_iommu_goes_with_the_arguments(arguments: str, present: bool) -> None:
    assert any(name.startswith("sys/class/iommu/") for name in tree(arguments)) is present


@pytest.mark.parametrize(
    ("release", "fixed"), [("6.18.9", True), ("6.18.3-200.fc43", False), ("6.12.48+deb13-amd64", False)]
)
def test_kernels_before_the_cwsr_fix_lack_its_sizes(release: str, fixed: bool) -> None:
    properties = tree("quiet", release=release)["sys/class/kfd/kfd/topology/nodes/1/properties"]
    assert ("cwsr_size" in properties) is fixed


@pytest.mark.parametrize("box", [box.name for box in BOXES])
def test_every_simulated_box_is_recognised_as_itself(box: str) -> None:
    files = SCRIPT.files_of(box_facts(box), "6.18.9", "quiet")
    dmi = {name.rpartition("/")[2]: text.strip() for name, text in files.items() if "/dmi/id/" in name}
    device = "sys/class/drm/card1/device"
    pci = ":".join(files[f"{device}/{part}"].strip() for part in ("vendor", "device"))
    visible = int(files["proc/meminfo"].split()[1]) * 1024 + int(files[f"{device}/mem_info_vram_total"])
    found = recognise(dmi, [pci], visible)
    assert found.box is not None
    assert found.box.name == box
    assert found.profile is not None
    assert files["SIMULATED"].startswith(found.box.label)


@pytest.mark.parametrize("memory_gib", [32, 64, 96, 128])
def test_every_memory_size_is_recognised_as_its_profile(memory_gib: int) -> None:
    files = SCRIPT.files_of(box_facts("gmktec-evo-x2", memory_gib), "6.18.9", "quiet")
    visible = int(files["proc/meminfo"].split()[1]) * 1024 + GIB // 2
    assert recognise({}, ["1002:1586"], visible).profile == f"strix-halo-{memory_gib}"


def test_tuned_profile_decides_the_power_state() -> None:
    slow, fast = SCRIPT.power_files("", 1), SCRIPT.power_files("accelerator-performance\n", 2)
    governor = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    assert (slow[governor], fast[governor]) == ("powersave\n", "performance\n")
    assert fast["sys/firmware/acpi/platform_profile"] == "performance\n"
    assert sum(name.endswith("scaling_governor") for name in fast) == 2


def test_first_menu_entry_gives_release_and_command_line() -> None:
    first = "menuentry 'x' {\n\tlinux\t/boot/vmlinuz-7.2.1-amd64 root=UUID=1 ro a=1\n}\n"
    grub = first + "menuentry 'y' {\n\tlinux\t/boot/vmlinuz-6.1 single\n}\n"
    release, cmdline = SCRIPT.boot_arguments(grub, "6.18.9")
    assert release == "7.2.1-amd64"
    assert cmdline == "BOOT_IMAGE=/boot/vmlinuz-7.2.1-amd64 root=UUID=1 ro a=1"
    assert SCRIPT.boot_arguments("", "6.18.9")[0] == "6.18.9"


def _update_grub(root: Path) -> str:
    """Run the stand-in on a folder instead of the system: every path in it is absolute."""
    script = (BASE / "usr/sbin/update-grub").read_text()
    for folder in ("/etc/default", "/etc/strixfleet-sandbox", "/boot"):
        script = script.replace(folder, f"{root}{folder}")
    subprocess.run(["sh", "-c", script], check=True, capture_output=True, env={"PATH": os.environ["PATH"]})
    return (root / "boot/grub/grub.cfg").read_text()


@pytest.fixture
def system(tmp_path: Path) -> Path:
    (tmp_path / "etc/default/grub.d").mkdir(parents=True)
    (tmp_path / "etc/strixfleet-sandbox").mkdir(parents=True)
    (tmp_path / "etc/strixfleet-sandbox/box.json").write_text('{\n "kernel_release": "6.18.9"\n}\n')
    (tmp_path / "etc/default/grub").write_text((BASE / "etc/default/grub").read_text())
    return tmp_path


def test_update_grub_reads_drop_ins_in_order_after_the_main_file(system: Path) -> None:
    drop_ins: dict[str, Any] = {
        "10-a.cfg": 'GRUB_CMDLINE_LINUX="first=1"\n',
        "60-b.cfg": 'GRUB_CMDLINE_LINUX="${GRUB_CMDLINE_LINUX:+$GRUB_CMDLINE_LINUX }second=2"\n',
        "ignored.conf": 'GRUB_CMDLINE_LINUX="never"\n',
    }
    for name, text in drop_ins.items():
        (system / "etc/default/grub.d" / name).write_text(text)
    _release, cmdline = SCRIPT.boot_arguments(_update_grub(system).replace(str(system), ""), "none")
    assert cmdline.endswith("ro first=1 second=2 quiet")


def test_update_grub_boots_the_newest_installed_kernel(system: Path) -> None:
    (system / "boot").mkdir()
    for release in ("6.9.1-amd64", "6.12.48+deb13-amd64", "6.2.0-amd64"):
        (system / f"boot/vmlinuz-{release}").touch()
    assert SCRIPT.boot_arguments(_update_grub(system), "none")[0] == "6.12.48+deb13-amd64"


def test_tree_is_written_and_only_the_power_state_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, root = tmp_path / "system", tmp_path / "hardware"
    monkeypatch.setattr(SCRIPT, "ROOT", root)
    (system / "etc/strixfleet-sandbox").mkdir(parents=True)
    (system / "etc/tuned").mkdir()
    import json

    (system / "etc/strixfleet-sandbox/box.json").write_text(json.dumps(box_facts("bosgame-m5")))
    SCRIPT.main("boot", system)
    before = (root / GTT).read_text()
    (system / "etc/tuned/active_profile").write_text("accelerator-performance\n")
    (system / "boot/grub").mkdir(parents=True)
    (system / "boot/grub/grub.cfg").write_text("linux /boot/vmlinuz-6.18.9 ttm.pages_limit=31457280\n")
    SCRIPT.main("power", system)
    assert (root / "sys/firmware/acpi/platform_profile").read_text() == "performance\n"
    assert (root / GTT).read_text() == before, "an argument has no effect before the next boot"
    SCRIPT.main("boot", system)
    assert int((root / GTT).read_text()) == 120 * GIB
    assert (root / "SIMULATED").read_text().startswith("Bosgame M5")
