"""How busy the processor was, and by whom, between two moments."""

from __future__ import annotations

import os
from typing import NamedTuple


JIFFIES_PER_S = os.sysconf("SC_CLK_TCK")


class CpuTime(NamedTuple):
    """Jiffies since boot, of all cores."""

    busy: int
    total: int


def now() -> CpuTime:
    """Read the processor's clock; what a hypervisor takes counts as busy."""
    with open("/proc/stat", encoding="ascii") as file:
        fields = [int(word) for word in file.readline().split()[1:9]]
    return CpuTime(sum(fields) - fields[3] - fields[4], sum(fields))


def of_process(pid: int) -> int:
    """Return the jiffies that a process has used so far; 0 where it is gone."""
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as file:
            return sum(int(word) for word in file.read().rpartition(")")[2].split()[11:13])
    except OSError:
        return 0


def busy_share(before: CpuTime, after: CpuTime, own_jiffies: float = 0) -> float:
    """Return what share of all cores was busy between two moments, less what was our own."""
    busy = after.busy - before.busy - own_jiffies
    return round(max(0.0, busy / max(1, after.total - before.total)), 3)
