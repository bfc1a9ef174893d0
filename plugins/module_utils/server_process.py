"""What a running process is: its program, its configuration, its age."""

from __future__ import annotations

import os
import time


def running(pid: str) -> dict[str, str]:
    """Say which program a process runs, and with which of our configurations."""
    if pid in {"", "0"}:
        return {}
    try:
        found = {"program": os.readlink(f"/proc/{pid}/exe")}
        with open(f"/proc/{pid}/environ", "rb") as file:
            for pair in file.read().split(b"\0"):
                if pair.startswith(b"STRIXFLEET_CONFIG="):
                    found["config"] = pair.split(b"=", 1)[1].decode("ascii", "replace")
    except OSError:
        return {}
    return found


def started_at(pid: str) -> float:
    """Return when a process started, by the clock as it is now; 0 when that cannot be told."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0.0
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age_s


def changed_after(path: str, moment: float) -> bool:
    """Tell whether a file was replaced since; a change in the future comes from a clock that was wrong."""
    try:
        changed = os.stat(path).st_ctime
    except OSError:
        return False
    return moment > 0 and moment + 0.1 < changed <= time.time()
