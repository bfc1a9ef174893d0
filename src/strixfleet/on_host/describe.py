"""
Say what is installed on this host, what runs, and whether it is in a state to be measured.

Runs on the managed host as `python3 -I -c …`: standard library of Python 3.9 or newer, and nothing of ours.
It gets one request and prints one JSON line after SENTINEL. It writes nothing. `root` stands in for /sys and
/proc on hosts that present a simulated box.
"""

import glob
import hashlib
import json
import os
import re
import subprocess
import time


SENTINEL = "strixfleet-bench:"
STATE = "/var/lib/strixfleet"
CURRENT = "/opt/strixfleet/llama.cpp/current"
ENVIRONMENT = re.compile(r"^(LLAMA_ARG_|GGML_|VK_|RADV_|AMD_|HSA_|HIP_|ROCR_|GPU_|MESA_|XDG_CACHE_HOME$)")
SECRET = re.compile(r"KEY$|TOKEN|PASSWORD")
SAMPLE_S = 0.5
BUSY_SHARE = 0.05
CALM_SHARE = 0.25
CALM_PAUSE_S = 3.0
GPU_MEMORY = ("gtt_total", "gtt_used", "vram_total", "vram_used")


def under(root, path):
    """Send /proc and /sys of a simulated host to its stand-in."""
    return root + path if root and path.startswith(("/sys/", "/proc/")) else path


def read(path, root=""):
    """Read a small text file; None where there is none."""
    try:
        with open(under(root, path), encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20).strip()
    except OSError:
        return None


def values(pattern, root):
    """Return the different contents of all files that a pattern names."""
    found = {read(path) for path in glob.glob(under(root, pattern))}
    return sorted(text for text in found if text)


def number(text):
    """Read a whole number; None where there is none."""
    return int(text) if text and re.fullmatch(r"-?\d+", text) else None


def cpu_times():
    """Return busy and total jiffies of all cores."""
    fields = [int(word) for word in (read("/proc/stat") or "cpu 0 0 0 0 0").splitlines()[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


def gpu_times():
    """Return {pid: nanoseconds of GPU engines} of all processes that hold the GPU."""
    found = {}
    for path in glob.glob("/proc/[0-9]*/fdinfo/*"):
        text = read(path)
        if text and "drm-driver" in text:
            spent = sum(int(ns) for ns in re.findall(r"^drm-engine-[^c]\S*:\s*(\d+) ns", text, re.MULTILINE))
            pid = int(path.split("/")[2])
            found[pid] = max(found.get(pid, 0), spent)
    return found


def gpu_users(before, after, span_s, own):
    """Name the processes that kept the GPU busy while nothing of ours ran."""
    rows = []
    for pid, spent in after.items():
        share = (spent - before.get(pid, spent)) / (span_s * 1e9)
        if share > BUSY_SHARE and pid not in own:
            rows.append({"pid": pid, "name": read("/proc/%d/comm" % pid) or "?", "share": round(share, 3)})
    return rows


def memory(root):
    """Return available memory and what of the GPU's is taken."""
    text = read("/proc/meminfo") or ""
    available = re.search(r"^MemAvailable:\s*(\d+) kB", text, re.MULTILINE)
    cards = "/sys/class/drm/card*/device/mem_info_"
    totals = {name: sum(number(one) or 0 for one in values(cards + name, root)) for name in GPU_MEMORY}
    return {"available_bytes": int(available[1]) * 1024 if available else 0, **totals}


def temperatures(root):
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


def on_mains(root):
    """Say whether the machine has mains power; None where nothing tells."""
    rows = [read(path) for path in glob.glob(under(root, "/sys/class/power_supply/*/online"))]
    known = [row for row in rows if row in {"0", "1"}]
    return "1" in known if known else None


def state(root, own):
    """Describe whether the host can be measured now."""
    busy, gpu, started = cpu_times(), gpu_times(), time.monotonic()
    time.sleep(SAMPLE_S)
    after, span_s = cpu_times(), time.monotonic() - started
    total = max(1, after[1] - busy[1])
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
        "cpu_busy_share": round((after[0] - busy[0]) / total, 3),
        "gpu_users": gpu_users(gpu, gpu_times(), span_s, own),
        "memory": memory(root),
        "cores": len(os.sched_getaffinity(0)),
    }


def environment_of(pid):
    """Return those variables of a process that say how it computes; never a secret."""
    try:
        with open("/proc/%d/environ" % pid, "rb") as file:
            pairs = [row.decode("utf-8", "replace").partition("=") for row in file.read().split(b"\0") if row]
    except OSError:
        return {}
    return {name: value for name, _, value in pairs if ENVIRONMENT.match(name) and not SECRET.search(name)}


def arguments_of(pid):
    """Return the command line of a process, less what follows an option with a secret."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            words = [word.decode("utf-8", "replace") for word in file.read().split(b"\0") if word]
    except OSError:
        return []
    return ["***" if index and words[index - 1] == "--api-key" else word for index, word in enumerate(words)]


def unit(name):
    """Describe a unit and its main process."""
    argv = ["systemctl", "show", "--property=ActiveState,MainPID,CPUQuotaPerSecUSec", "--", name]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20, check=False)
    shown = dict(row.partition("=")[::2] for row in done.stdout.decode("utf-8", "replace").splitlines())
    pid = number(shown.get("MainPID")) or 0
    row = {"state": shown.get("ActiveState", "unknown"), "pid": pid, "argv": [], "environment": {}}
    row["quota"] = shown.get("CPUQuotaPerSecUSec")
    if pid:
        row.update(argv=arguments_of(pid), environment=environment_of(pid), cores=cores_of(pid))
        row["exe"] = os.path.realpath("/proc/%d/exe" % pid)
        row["nice"] = os.getpriority(os.PRIO_PROCESS, pid)
    return row


def cores_of(pid):
    """Return the cores that a process may run on."""
    try:
        return sorted(os.sched_getaffinity(pid))
    except OSError:
        return []


def stat(path):
    """Describe a file without reading it."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return {"size_bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}


def stored(name):
    """Read one of the host's own measurement files; {} where there is none or it is damaged."""
    try:
        found = json.loads(read(os.path.join(STATE, name)) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def calm(request, own):
    """Describe the host; where the CPU computes, wait for other work to end, but not for long."""
    found, started = state(request["root"], own), time.monotonic()
    while found["cpu_busy_share"] > CALM_SHARE and time.monotonic() - started < request["calm_s"]:
        time.sleep(CALM_PAUSE_S)
        found = state(request["root"], own)
    return found


def boot_key(root):
    """Name what memory's speed depends on: processor, memory and how the kernel was booted."""
    total = (read("/proc/meminfo") or "").partition("\n")[0]
    words = (processor(), str(os.cpu_count()), total, read("/proc/cmdline", root) or "")
    return hashlib.sha256("|".join(words).encode()).hexdigest()[:16]


def processor():
    """Name the processor."""
    found = re.findall(r"^model name\s*:\s*(.+)$", read("/proc/cpuinfo") or "", re.MULTILINE)
    return found[0] if found else ""


def look(request):
    """Say what is installed, what runs, and in what state the host is."""
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


def main(request):
    """Print the answer on one line after the sentinel, so that a chatty login shell cannot corrupt it."""
    try:
        answer = {"answer": look(request)}
    except Exception as problem:
        answer = {"error": "%s: %s" % (type(problem).__name__, problem)}
    print(SENTINEL + json.dumps(answer))
