"""
Present the hardware of a named box inside a sandbox host, as the boot configuration leaves it.

Runs in the guest, standard library only. `boot` computes the tree from box.json and the kernel command line
that update-grub last wrote; `power` renews what the active tuned profile sets. The CPU is real.

Semantics: parameters of module `m` are `m.name=value`, `-` and `_` in a name are the same, the last one wins,
unknown names and unreadable values change nothing; TTM's limit defaults to half of memory; the GTT is
`amdgpu.gttsize` (MiB) where given, else TTM's limit; what HIP may use is the smaller of the two.
"""

# ruff: noqa: INP001 - no package: the guest runs it by its path

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any


Box = dict[str, Any]  # box.json
Options = dict[str, dict[str, str]]  # {module: {parameter: value}}
Files = dict[str, str]  # {path below the root: text}

ROOT = Path("/run/strixfleet-sandbox/hardware")
PAGE_BYTES = 4096
MIB = 1024**2
VISIBLE_SHARE = 0.98  # 2 x 63973 MiB of GTT are seen on 128 GiB less 512 MiB
CWSR_FIXED = (6, 18, 4)
PERFORMANCE_PROFILES = {
    "accelerator-performance",
    "throughput-performance",
    "latency-performance",
    "hpc-compute",
}
AMDGPU_DEFAULTS = {
    "gttsize": "-1",
    "cwsr_enable": "1",
    "lockup_timeout": "",
    "no_system_mem_limit": "N",
    "noretry": "-1",
    "vm_fragment_size": "-1",
    "vramlimit": "0",
    "ppfeaturemask": "0xfff7bfff",
}
# What `modinfo -F parm` lists for Debian's kernel 6.12.
MODULE_PARAMETERS = {
    "amdgpu": (
        "abmlevel agp aspm async_gfx_ring audio backlight bad_page_threshold bapm cg_mask cik_support "
        "compute_multipipe cwsr_enable damageclips dc dcdebugmask dcfeaturemask debug_evictions debug_mask "
        "deep_color disable_cu discovery disp_priority dpm emu_mode enforce_isolation exp_hw_support "
        "force_asic_type forcelongtraining freesync_video fw_load_type gartsize gpu_recovery gttsize "
        "halt_if_hws_hang hw_i2c hws_gws_support hws_max_conc_proc ip_block_mask lbpw lockup_timeout "
        "max_num_of_queues_per_device mcbp mes mes_kiq mes_log_enable modeset moverate msi mtype_local "
        "no_queue_eviction_on_vm_fault no_system_mem_limit noretry num_kcq pcie_gen2 pcie_gen_cap "
        "pcie_lane_cap pg_mask ppfeaturemask queue_preemption_timeout_ms ras_enable ras_mask reset_method "
        "runpm sched_hw_submission sched_jobs sched_policy sdma_phase_quantum seamless send_sigterm "
        "sg_display si_support smu_memory_pool_size smu_pptable_id svm_default_granularity "
        "timeout_fatal_disable timeout_period tmz umsch_mm umsch_mm_fwlog uni_mes use_xgmi_p2p "
        "user_partt_mode vcnfw_log virtual_display vis_vramlimit visualconfirm vm_block_size vm_fault_stop "
        "vm_fragment_size vm_size vm_update_mode vramlimit wbrf"
    ),
    "ttm": "dma32_pages_limit page_pool_size pages_limit",
}
SYSCTLS = {"vm.swappiness": "60", "vm.vfs_cache_pressure": "100"}  # the kernel's own values
MES_FIRMWARE = "MES feature version: 1, firmware version: 0x00000080\n"  # 0x83 is the bad one
SWITCHES = {"no_system_mem_limit"}
NUMBERS = {"gttsize", "cwsr_enable", "noretry", "vm_fragment_size", "vramlimit"}


def boot_arguments(grub_cfg: str, default_release: str) -> tuple[str, str]:
    """Give kernel release and command line of the first menu entry, or of a bare installation."""
    if entry := re.search(r"^\s*linux\s+(\S*vmlinuz-(\S+))[ \t]*(.*)$", grub_cfg, re.MULTILINE):
        words = re.sub(r"\\(.)", r"\1", entry[3].strip())  # as GRUB takes a backslash
        return entry[2], f"BOOT_IMAGE={entry[1]} {words}".rstrip()
    return default_release, f"BOOT_IMAGE=/boot/vmlinuz-{default_release} ro quiet"


def module_options(cmdline: str, modprobe_conf: str = "") -> Options:
    """Give {module: {parameter: value}} from modprobe.d options and, stronger, the kernel command line."""
    options: Options = {}
    for line in modprobe_conf.splitlines():
        keyword, module, *words = [*line.split(), "", ""]
        for word in words if keyword == "options" else ():
            name, _, value = word.partition("=")
            options.setdefault(_same(module), {})[_same(name)] = value
    for word in re.findall(r'(?:[^\s"]|"[^"]*")+', cmdline):
        name, _, value = word.replace('"', "").partition("=")
        module, dot, parameter = name.partition(".")
        if dot:
            options.setdefault(_same(module), {})[_same(parameter)] = value
    return options


def _same(name: str) -> str:
    return name.replace("-", "_")


def kernel_int(text: str | None, *, negative: bool = False) -> int | None:
    """Read a number as the kernel's parameters do (0x hex, leading 0 octal), None when it is not one."""
    match = re.fullmatch(r"(-?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)", text or "")
    if not match or (match[1] and not negative):
        return None
    digits = match[2]
    base = 16 if digits[:2] in ("0x", "0X") else 8 if len(digits) > 1 and digits[0] == "0" else 10
    return int(match[1] + digits, base)


def version_tuple(release: str) -> tuple[int, ...]:
    """Give the leading numbers of a kernel release."""
    return tuple(int(part) for part in re.findall(r"\d+", release.split("-", maxsplit=1)[0])[:3])


def memory_sizes(box: Box, options: Options) -> dict[str, int]:
    """Give MemTotal, the TTM limit, pool size, GTT and HIP pool in bytes."""
    total = int((box["memory_bytes"] - box["carve_out_bytes"]) * VISIBLE_SHARE) // PAGE_BYTES * PAGE_BYTES
    half_pages = total // 2 // PAGE_BYTES
    ttm = options.get("ttm", {})
    pages = kernel_int(ttm.get("pages_limit")) or half_pages
    pool = kernel_int(ttm.get("page_pool_size")) or half_pages
    gttsize_mib = kernel_int(options.get("amdgpu", {}).get("gttsize"), negative=True)
    gtt = pages * PAGE_BYTES if gttsize_mib is None or gttsize_mib < 0 else gttsize_mib * MIB
    return {"total": total, "pages": pages, "pool": pool, "gtt": gtt, "hip": min(gtt, pages * PAGE_BYTES)}


def amdgpu_parameters(options: Options) -> dict[str, str]:
    """Give /sys/module/amdgpu/parameters, where values that the kernel cannot read change nothing."""
    values = dict(AMDGPU_DEFAULTS)
    for name, value in options.get("amdgpu", {}).items():
        if name in NUMBERS and (number := kernel_int(value, negative=True)) is not None:
            values[name] = str(number)
        elif name in SWITCHES and value.lower() in ("", "1", "y", "yes", "on", "0", "n", "no", "off"):
            values[name] = "N" if value.lower() in ("0", "n", "no", "off") else "Y"
        elif name in AMDGPU_DEFAULTS and name not in NUMBERS | SWITCHES:
            values[name] = value
    return values


def iommu_names(cmdline: str) -> list[str]:
    """Give the entries of /sys/class/iommu: none when it is switched off; `amd_iommu=pt` is no option."""
    words = cmdline.split()
    return [] if "amd_iommu=off" in words or "iommu=off" in words else ["ivhd0"]


def files_of(box: Box, release: str, cmdline: str, modprobe_conf: str = "", cpuinfo: str = "") -> Files:
    """Give every file of the tree but the power state: {path below the root: text}."""
    options = module_options(cmdline, modprobe_conf)
    size = memory_sizes(box, options)
    files = {
        "SIMULATED": f"{box['label']}: simulated by strixfleet\n",
        "proc/cmdline": f"{cmdline}\n",
        "proc/cpuinfo": cpuinfo,
        "proc/meminfo": f"MemTotal:       {size['total'] // 1024} kB\n",
        "proc/sys/kernel/osrelease": f"{release}\n",
        "proc/sys/kernel/ostype": "Linux\n",
        "sys/kernel/debug/dri/1/amdgpu_firmware_info": MES_FIRMWARE,
        "sys/module/ttm/parameters/pages_limit": f"{size['pages']}\n",
        "sys/module/ttm/parameters/page_pool_size": f"{size['pool']}\n",
    }
    files |= {f"sys/class/dmi/id/{name}": f"{value}\n" for name, value in box["dmi"].items()}
    files |= {f"sys/module/amdgpu/parameters/{n}": f"{v}\n" for n, v in amdgpu_parameters(options).items()}
    files |= {f"sys/class/iommu/{name}/uevent": "" for name in iommu_names(cmdline)}
    files |= {f"modinfo/{module}": f"{names}\n" for module, names in MODULE_PARAMETERS.items()}
    files |= _gpu_files(box, size)
    files |= _kfd_files(box, release, size)
    return files


def _gpu_files(box: Box, size: dict[str, int]) -> Files:
    vendor, device = box["pci_id"].split(":")
    device_files = {
        "vendor": f"0x{vendor}",
        "device": f"0x{device}",
        "uevent": f"DRIVER=amdgpu\nPCI_ID={box['pci_id'].upper()}\nPCI_SLOT_NAME=0000:c5:00.0",
        "mem_info_gtt_total": size["gtt"],
        "mem_info_gtt_used": 64 * MIB,
        "mem_info_vram_total": box["carve_out_bytes"],
        "mem_info_vram_used": 128 * MIB,
        "gpu_busy_percent": 0,
        "power_dpm_force_performance_level": "auto",
        "pp_dpm_sclk": "0: 600Mhz *\n1: 1100Mhz\n2: 2900Mhz",
        "pp_dpm_mclk": "0: 400Mhz *\n1: 800Mhz\n2: 1000Mhz",
    }
    return {f"sys/class/drm/card1/device/{name}": f"{value}\n" for name, value in device_files.items()}


def _kfd_files(box: Box, release: str, size: dict[str, int]) -> Files:
    vendor, device = box["pci_id"].split(":")
    properties = [
        "cpu_cores_count 0",
        f"simd_count {box['simd_count']}",
        f"gfx_target_version {box['gfx_target_version']}",
        f"vendor_id {int(vendor, 16)}",
        f"device_id {int(device, 16)}",
        "local_mem_size 0",
    ]
    if version_tuple(release) >= CWSR_FIXED:
        properties += ["cwsr_size 24997888", "ctl_stack_size 16384"]
    nodes = "sys/class/kfd/kfd/topology/nodes"
    return {
        f"{nodes}/0/properties": "cpu_cores_count 16\nsimd_count 0\ngfx_target_version 0\n",
        f"{nodes}/1/properties": "\n".join(properties) + "\n",
        f"{nodes}/1/mem_banks/0/properties": f"heap_type 1\nsize_in_bytes {size['hip']}\nflags 0\n",
    }


def sysctl_files(configurations: "list[str]") -> Files:
    """Give /proc/sys as systemd-sysctl leaves it: the kernel's values, then what sysctl.d sets, in order."""
    values = dict(SYSCTLS)
    for text in configurations:
        for line in text.splitlines():
            name, equals, value = line.partition("=")
            if equals and not line.lstrip().startswith(("#", ";")):
                values[name.strip().lstrip("-")] = value.strip()
    return {f"proc/sys/{name.replace('.', '/')}": f"{value}\n" for name, value in values.items()}


def power_files(active_profile: str, cpus: int) -> Files:
    """Give the power state that a tuned profile leaves; without one, what firmware and driver start with."""
    fast = active_profile.strip() in PERFORMANCE_PROFILES
    files = {
        "sys/firmware/acpi/platform_profile": "performance\n" if fast else "balanced\n",
        "sys/firmware/acpi/platform_profile_choices": "low-power balanced performance\n",
    }
    for cpu in range(cpus):
        folder = f"sys/devices/system/cpu/cpu{cpu}/cpufreq"
        files[f"{folder}/scaling_driver"] = "amd-pstate-epp\n"
        files[f"{folder}/scaling_governor"] = "performance\n" if fast else "powersave\n"
        files[f"{folder}/energy_performance_preference"] = (
            "performance\n" if fast else "balance_performance\n"
        )
    return files


def write_tree(root: Path, files: Files) -> None:
    """Write the files below root, with empty folders where the kernel has them."""
    for folder in ("sys/class/iommu", "sys/class/drm"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _read(path: Path | str) -> str:
    try:
        return Path(path).read_text()
    except FileNotFoundError:
        return ""


def main(verb: str, system: Path = Path("/")) -> None:
    """Renew the whole tree at boot, or only the power state."""
    cpuinfo = _read("/proc/cpuinfo")
    power = power_files(_read(system / "etc/tuned/active_profile"), cpuinfo.count("processor\t") or 1)
    if verb == "power":
        write_tree(ROOT, power)
        return
    box = json.loads((system / "etc/strixfleet-sandbox/box.json").read_text())
    if system == Path("/") and not Path("/boot/grub/grub.cfg").exists():
        subprocess.run(["/usr/sbin/update-grub"], check=True)  # what an installer did before the first boot
    shutil.rmtree(ROOT, ignore_errors=True)
    release, cmdline = boot_arguments(_read(system / "boot/grub/grub.cfg"), box["kernel_release"])
    modprobe_conf = _read(system / "boot/strixfleet-sandbox/modprobe.conf")
    sysctls = sysctl_files([_read(path) for path in sorted((system / "etc/sysctl.d").glob("*.conf"))])
    write_tree(ROOT, files_of(box, release, cmdline, modprobe_conf, cpuinfo) | sysctls | power)


if __name__ == "__main__":
    main(sys.argv[1])
