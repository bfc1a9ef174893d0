"""What /proc says of a running process."""

from __future__ import annotations

import os
import time


SLACK_S = 0.03  # a process's start is known to a hundredth of a second


def running(pid: int) -> dict[str, str]:
    """Return the program that a process runs as `exe`, and which of our configurations as `config`."""
    try:
        found = {"exe": os.readlink("/proc/%d/exe" % pid)}
        config = environment(pid).get("STRIXFLEET_CONFIG")
    except OSError:
        return {}
    return found if config is None else {**found, "config": config}


def environment(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with."""
    with open("/proc/%d/environ" % pid, "rb") as file:
        pairs = [pair.decode("utf-8", "replace").partition("=") for pair in file.read().split(b"\0") if pair]
    return {name: value for name, _, value in pairs}


def arguments(pid: int) -> list[str]:
    """Return the command line of a process."""
    with open("/proc/%d/cmdline" % pid, "rb") as file:
        return [word.decode("utf-8", "replace") for word in file.read().split(b"\0")[:-1]]


def changed_after(path: str, moment: float) -> bool:
    """Tell whether a file was replaced since; a change in the future comes from a clock that was wrong."""
    try:
        changed = os.stat(path).st_ctime
    except OSError:
        return False
    return moment > 0 and moment + SLACK_S < changed <= time.time()


def started_at(pid: int) -> float:
    """Return when a process started, by the clock as it is now; 0 where that cannot be told."""
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0.0
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age_s
