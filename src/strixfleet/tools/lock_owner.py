"""Who holds the lock of a fleet: a process of a user on a machine, which its plays know, too."""

import getpass
import hashlib
import os
import platform
import re
import uuid
from pathlib import Path


BOOT_ID = "/proc/sys/kernel/random/boot_id"
VARIABLE = "STRIXFLEET_LOCK_OWNER"  # tells a play for whom it runs


def _where() -> str:
    """Identify this boot of this machine, or this container: host names are not unique."""
    try:
        boot = Path(BOOT_ID).read_text(encoding="ascii")
        return hashlib.sha256(f"{boot}{Path('/proc/self/ns/pid').readlink()}".encode()).hexdigest()[:8]
    except OSError:  # not Linux
        return f"{uuid.getnode():x}"


def owner() -> str:
    """Return who holds a lock of ours: user, machine and process."""
    return f"{getpass.getuser()}@{platform.node()} ({_where()}) pid {os.getpid()}"


def is_dead(other: str) -> bool:
    """Tell whether an owner was a process of this machine that has ended."""
    found = re.fullmatch(r"\S+@(\S+) \((\w+)\) pid (\d+)", other)
    if not found or (found[1], found[2]) != (platform.node(), _where()):
        return False
    try:
        os.kill(int(found[3]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it runs, as another user
        return False
    return False
