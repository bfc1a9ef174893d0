"""
Records that outlive a power cut, leases that do not outlive a reboot, and the lock around both.

Each record carries a seal, the digest of what it says, and has the keys that its kind has. One that does not
is damaged, and a damaged record is never taken for an absent one: who reads it decides what is safe then.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from typing import Any, Callable, Iterator

from .. import files, json_text
from ..envelope import DAMAGED, Refused


Row = dict[str, Any]
STATE = "var/lib/strixfleet"
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
LIMIT_BYTES = 1 << 20
LEASE = {"deadline_s": (int, float), "length_s": (int, float), "boot_id": str}


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
    """Return the seconds that are left: none after a reboot, none where more are left than were given."""
    if not record or record["boot_id"] != boot_id():
        return 0.0
    left = float(record["deadline_s"]) - now_s()
    return left if 0.0 < left <= record["length_s"] + 1.0 else 0.0


def has(row: Row, kinds: dict[str, Any]) -> bool:
    """Tell whether a row has these keys and no others, with values of these types; no number is a bool."""
    return row.keys() == kinds.keys() and all(
        isinstance(row[key], kind) and (kind is bool or not isinstance(row[key], bool))
        for key, kind in kinds.items()
    )


class Damaged(Refused):
    """A record that is there and cannot be believed."""

    def __init__(self, path: str) -> None:
        super().__init__("%s is damaged" % path, DAMAGED)


class HostLock:
    """The lock around every write, as `with alone:`; it ends with the process at the latest."""

    def __init__(self, root: str) -> None:
        self.path = os.path.join(root, STATE)
        self.descriptor = -1

    def __enter__(self) -> None:
        os.makedirs(self.path, mode=0o755, exist_ok=True)
        # The folder itself is locked: a disk may have no room for another file.
        self.descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
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


class Record:
    """A JSON file that is there whole, old or new, or is absent; `valid` knows what its kind may say."""

    def __init__(self, root: str, name: str, valid: Callable[[Row], bool]) -> None:
        self.path = os.path.join(root, STATE, name)
        self.valid = valid

    def read(self) -> Row:
        """Return the record, an empty one where there is none; raise Damaged where it cannot be believed."""
        if not os.path.lexists(self.path):
            return {}
        try:
            with files.opened(self.path) as file:
                row = json_text.parsed_map(file.read(LIMIT_BYTES))
        except (OSError, ValueError):
            raise Damaged(self.path) from None
        unsealed = "seal" not in row  # as in the version before
        if not (row.pop("seal", None) == seal_of(row) or unsealed) or not self.valid(row):
            raise Damaged(self.path)
        return row

    def write(self, row: Row) -> None:
        """Replace it durably; on a disk without room for another file, write into the one that is there."""
        data = json.dumps({**row, "seal": seal_of(row)}, sort_keys=True).encode()
        try:
            files.write(self.path, data)
        except OSError as problem:
            if problem.errno not in NO_ROOM or not os.path.isfile(self.path):
                raise
            files.overwrite(self.path, data)

    def replace(self, row: Row) -> None:
        """Write it where something else may be in its place."""
        if not os.path.isfile(self.path) or os.path.islink(self.path):
            self.remove()
        self.write(row)

    def remove(self) -> None:
        """Remove it durably, whatever is in its place."""
        if not os.path.lexists(self.path):
            return
        if os.path.isdir(self.path) and not os.path.islink(self.path):
            shutil.rmtree(self.path)
        else:
            os.unlink(self.path)
        files.sync(os.path.dirname(self.path))


def seal_of(row: Row) -> str:
    """Return the digest of what a record says."""
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:32]
