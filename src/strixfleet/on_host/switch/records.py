"""Records that outlive a power cut, leases that do not outlive a reboot, and the lock around both."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from typing import Any, Iterator

from .. import files


Row = dict[str, Any]
STATE = "var/lib/strixfleet"


def now_s() -> float:
    """Return seconds since boot, suspend included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Name this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def today() -> str:
    """Return the time of day for people; no decision depends on it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def deadline(length_s: float) -> Row:
    """Say when a lease that begins now is over."""
    return {"deadline_s": round(now_s() + length_s, 3), "length_s": length_s, "boot_id": boot_id()}


def left_s(record: Row) -> float:
    """Return the seconds that are left; none after a reboot."""
    if not record or record["boot_id"] != boot_id():
        return 0.0
    return max(0.0, float(record["deadline_s"]) - now_s())


class HostLock:
    """The lock around every write, as `with alone:`; it ends with the process at the latest."""

    def __init__(self, root: str) -> None:
        self.path = os.path.join(root, STATE, "host.lock")
        self.descriptor = -1

    def __enter__(self) -> None:
        os.makedirs(os.path.dirname(self.path), mode=0o755, exist_ok=True)
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_problem: object) -> None:
        os.close(self.descriptor)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Let others in while something slow goes on, such as a heartbeat; look again afterwards."""
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)


class JsonFile:
    """A JSON file that is there whole, old or new, or is absent."""

    def __init__(self, root: str, name: str) -> None:
        self.path = os.path.join(root, STATE, name)

    def read(self) -> Row:
        """Return the record; an empty one where there is none, or none that can be read."""
        try:
            with open(self.path, encoding="utf-8") as file:
                data = json.load(file)
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}

    def write(self, data: Row) -> None:
        """Replace it durably."""
        files.write(self.path, json.dumps(data, sort_keys=True).encode())

    def remove(self) -> None:
        """Remove it durably."""
        if os.path.exists(self.path):
            os.unlink(self.path)
            files.sync(os.path.dirname(self.path))
