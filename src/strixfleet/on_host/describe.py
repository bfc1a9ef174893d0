"""
Describe what is installed on this host, what runs, and whether it is in a state to be measured.

It writes nothing. `root` stands in for /sys and /proc on hosts that present a simulated box.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import time
from typing import Any

from . import cpu_time, files, json_text, process, systemd
from .files import under


STATE = "/var/lib/strixfleet"
CURRENT = "/opt/strixfleet/llama.cpp/current"
ENVIRONMENT = re.compile(r"^(LLAMA_ARG_|GGML_|VK_|RADV_|AMD_|HSA_|HIP_|ROCR_|GPU_|MESA_|XDG_CACHE_HOME$)")
SECRET = re.compile(r"KEY$|TOKEN|PASSWORD")
SAMPLE_S = 0.5
BUSY_SHARE = 0.05
CALM_SHARE = 0.25
CALM_PAUSE_S = 3.0
GPU_MEMORY = ("gtt_total", "gtt_used", "vram_total", "vram_used")
UNIT_PROPERTIES = ("ActiveState", "MainPID", "CPUQuotaPerSecUSec")


def read(path: str, root: str = "") -> str | None:
    """Read a small text file; None where there is none, or none that can be read."""
    try:
        text = files.read_text(under(root, path))
    except OSError:
        return None
    return text if text is None else text.strip()


def values(pattern: str, root: str) -> list[str]:
    """Return the different contents of all files that a pattern names."""
    found = {read(path) for path in glob.glob(under(root, pattern))}
    return sorted(text for text in found if text)


def number(text: str | None) -> int | None:
    """Read a whole number; None where there is none."""
    return int(text) if text and re.fullmatch(r"-?\d+", text) else None


def gpu_times() -> dict[int, int]:
    """Return {pid: nanoseconds of GPU engines} of all processes that hold the GPU."""
    found: dict[int, int] = {}
    for path in glob.glob("/proc/[0-9]*/fdinfo/*"):
        text = read(path)
        if text and "drm-driver" in text:
            spent = sum(int(ns) for ns in re.findall(r"^drm-engine-[^c]\S*:\s*(\d+) ns", text, re.MULTILINE))
            pid = int(path.split("/")[2])
            found[pid] = max(found.get(pid, 0), spent)
    return found


def gpu_users(
    before: dict[int, int], after: dict[int, int], span_s: float, own: set[int]
) -> list[dict[str, Any]]:
    """Name the processes that kept the GPU busy while nothing of ours ran."""
    rows = []
    for pid, spent in after.items():
        share = (spent - before.get(pid, spent)) / (span_s * 1e9)
        if share > BUSY_SHARE and pid not in own:
            rows.append({"pid": pid, "name": read("/proc/%d/comm" % pid) or "?", "share": round(share, 3)})
    return rows


def memory(root: str) -> dict[str, int]:
    """Return available memory and what of the GPU's is taken."""
    text = read("/proc/meminfo") or ""
    available = re.search(r"^MemAvailable:\s*(\d+) kB", text, re.MULTILINE)
    cards = "/sys/class/drm/card*/device/mem_info_"
    totals = {name: sum(number(one) or 0 for one in values(cards + name, root)) for name in GPU_MEMORY}
    return {"available_bytes": int(available[1]) * 1024 if available else 0, **totals}


def temperatures(root: str) -> dict[str, float]:
    """Return the sensors in degrees Celsius by label; those of disks and radios tell nothing here."""
    found = {}
    for folder in glob.glob(under(root, "/sys/class/hwmon/hwmon*")):
        name = read(folder + "/name") or "?"
        if name in {"k10temp", "amdgpu", "coretemp", "zenpower"}:
            for path in glob.glob(folder + "/temp*_input"):
                value = number(read(path))
                if value is not None:
                    found["%s %s" % (name, os.path.basename(path)[:-6])] = value / 1000
    return found


def on_mains(root: str) -> bool | None:
    """Tell whether the machine has mains power; None where nothing tells."""
    rows = [read(path) for path in glob.glob(under(root, "/sys/class/power_supply/*/online"))]
    known = [row for row in rows if row in {"0", "1"}]
    return "1" in known if known else None


def state(root: str, own: set[int]) -> dict[str, Any]:
    """Describe whether the host can be measured now."""
    cpu, gpu, started = cpu_time.now(), gpu_times(), time.monotonic()
    time.sleep(SAMPLE_S)
    busy_share, span_s = cpu_time.busy_share(cpu, cpu_time.now()), time.monotonic() - started
    cpufreq = "/sys/devices/system/cpu/cpu*/cpufreq/"
    return {
        "governors": values(cpufreq + "scaling_governor", root),
        "drivers": values(cpufreq + "scaling_driver", root),
        "preferences": values(cpufreq + "energy_performance_preference", root),
        "platform_profile": read("/sys/firmware/acpi/platform_profile", root),
        "gpu_levels": values("/sys/class/drm/card*/device/power_dpm_force_performance_level", root),
        "gpu_clocks": values("/sys/class/drm/card*/device/pp_dpm_sclk", root),
        "temperatures_c": temperatures(root),
        "on_mains": on_mains(root),
        "cpu_busy_share": busy_share,
        "gpu_users": gpu_users(gpu, gpu_times(), span_s, own),
        "memory": memory(root),
        "cores": len(os.sched_getaffinity(0)),
    }


def environment_of(pid: int) -> dict[str, str]:
    """Return those variables of a process that decide how it computes; never a secret."""
    try:
        found = process.environment(pid)
    except OSError:
        return {}
    return {name: value for name, value in found.items() if decides_speed(name)}


def decides_speed(variable: str) -> bool:
    """Tell whether a variable decides how llama.cpp computes; a secret never does."""
    return bool(ENVIRONMENT.match(variable)) and not SECRET.search(variable)


def arguments_of(pid: int) -> list[str]:
    """Return the command line of a process, less what follows an option with a secret."""
    try:
        words = process.arguments(pid)
    except OSError:
        return []
    return ["***" if index and words[index - 1] == "--api-key" else word for index, word in enumerate(words)]


def unit(name: str) -> dict[str, Any]:
    """Describe a unit and its main process."""
    shown = systemd.peek(name, UNIT_PROPERTIES)
    pid = number(shown.get("MainPID")) or 0
    row: dict[str, Any] = {
        "state": shown.get("ActiveState", "unknown"),
        "pid": pid,
        "argv": [],
        "environment": {},
        "quota": shown.get("CPUQuotaPerSecUSec"),
    }
    if pid:
        row.update(argv=arguments_of(pid), environment=environment_of(pid), cores=cores_of(pid))
        row["exe"] = os.path.realpath("/proc/%d/exe" % pid)
        row["nice"] = os.getpriority(os.PRIO_PROCESS, pid)
    return row


def cores_of(pid: int) -> list[int]:
    """Return the cores that a process may run on."""
    try:
        return sorted(os.sched_getaffinity(pid))
    except OSError:
        return []


def stat(path: str) -> dict[str, int] | None:
    """Describe a file without reading it."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return {"size_bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}


def stored(name: str) -> dict[str, Any]:
    """Read one of the host's own measurement files; {} where there is none or it is damaged."""
    try:
        return json_text.parsed_map(read(os.path.join(STATE, name)) or "{}")
    except ValueError:
        return {}


def calm(request: dict[str, Any], own: set[int]) -> dict[str, Any]:
    """Describe the host; where the CPU computes, wait for other work to end, but not for long."""
    found, started = state(request["root"], own), time.monotonic()
    while found["cpu_busy_share"] > CALM_SHARE and time.monotonic() - started < request["calm_s"]:
        time.sleep(CALM_PAUSE_S)
        found = state(request["root"], own)
    return found


def boot_key(root: str) -> str:
    """Name what memory's speed depends on: processor, memory and how the kernel was booted."""
    total = (read("/proc/meminfo") or "").partition("\n")[0]
    words = (processor(), str(os.cpu_count()), total, read("/proc/cmdline", root) or "")
    return hashlib.sha256("|".join(words).encode()).hexdigest()[:16]


def processor() -> str:
    """Name the processor."""
    found = re.findall(r"^model name\s*:\s*(.+)$", read("/proc/cpuinfo") or "", re.MULTILINE)
    return found[0] if found else ""


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Return what is installed, what runs, and in what state the host is."""
    instances = {name: unit("llama-server@%s.service" % name) for name in request["instances"]}
    own = {row["pid"] for row in instances.values()}
    build = os.path.realpath(CURRENT)
    return {
        "build": os.path.basename(build) if os.path.isdir(build) else None,
        "binaries": sorted(os.listdir(build + "/bin")) if os.path.isdir(build + "/bin") else [],
        "instances": instances,
        "files": {path: stat(path) for path in request["files"]},
        "state": calm(request, own),
        "last_good": stored("last-good.json"),
        "bandwidth": stored("bandwidth.json"),
        "boot_key": boot_key(request["root"]),
    }
