"""The model store of a host: files that only root can change, and stamps that spare reading 60 GB again."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from typing import Any

from ansible_collections.strixfleet.fleet.plugins.module_utils.on_host import files


RESERVE_MAX_BYTES = 1 << 30
FILE_MODE = 0o644
FOLDER_MODE = 0o755


class StoreError(Exception):
    """Something in the store is not as it has to be."""


def own(path: str, mode: int) -> None:
    """Let root alone change a file or folder."""
    os.chmod(path, mode)
    if os.geteuid() == 0:
        os.chown(path, 0, 0)


def make_folder(path: str) -> None:
    """Make the store and one model's folder in it; a link in their place would lead writes elsewhere."""
    os.makedirs(os.path.dirname(os.path.dirname(path)), exist_ok=True)
    for folder in (os.path.dirname(path), path):
        if os.path.islink(folder) or os.path.isfile(folder):
            raise StoreError(f"{folder}: is a link or a file; hint: make it a folder, or use a bind mount")
        os.makedirs(folder, exist_ok=True)
        own(folder, FOLDER_MODE)


@contextlib.contextmanager
def locked(folder: str, wait_s: float) -> Iterator[int]:
    """Wait for another run that works in a folder, and hold its lock; yield the lock's descriptor."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    deadline = time.monotonic() + wait_s
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StoreError(
                        f"{folder}: another run has been at work here for {wait_s:.0f} s; hint: wait for its"
                        " download to end, then run again"
                    ) from None
                time.sleep(0.5)
            else:
                break
        yield descriptor
    finally:
        os.close(descriptor)


def spare_bytes(folder: str) -> int:
    """Return how much may be written: the free space less a reserve that the system needs to keep working."""
    status = os.statvfs(folder)
    reserve = min(RESERVE_MAX_BYTES, status.f_blocks * status.f_frsize // 20)
    return status.f_bavail * status.f_frsize - reserve


def plain_status(path: str) -> os.stat_result | None:
    """Return the status of a plain file; None for anything else, a link included."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def remove(path: str) -> None:
    """Remove a file of ours, or a link in its place, if there is one."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def identity(status: os.stat_result) -> dict[str, int]:
    """Return what tells a file from a changed or replaced one."""
    return {"size_bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}


def is_stamped(status: os.stat_result, wanted: dict[str, Any]) -> bool:
    """Tell whether the stamp says that this very file has the wanted digest; a damaged stamp says nothing."""
    if plain_status(wanted["stamp"]) is None:
        return False
    try:
        with open(wanted["stamp"], encoding="utf-8") as file:
            stamp = json.load(file)
    except ValueError:
        return False
    return isinstance(stamp, dict) and {**stamp, **identity(status), "sha256": wanted["sha256"]} == stamp


def write_stamp(wanted: dict[str, Any], status: os.stat_result) -> None:
    """Note which file has the wanted digest: the old stamp or the new one, also after a power cut."""
    stamp = {"path": wanted["path"], "sha256": wanted["sha256"], **identity(status)}
    files.write(wanted["stamp"], (json.dumps(stamp, sort_keys=True) + "\n").encode(), mode=FILE_MODE)


def publish(part: str, path: str) -> None:
    """Give a complete file its name, lastingly."""
    own(part, FILE_MODE)
    files.sync(part)
    files.rename(part, path)


def adopt(wanted: dict[str, Any]) -> bool:
    """Keep a file that is right but not stamped, as after a run that was killed in between."""
    if plain_status(wanted["path"]) is None or files.sha256(wanted["path"]) != wanted["sha256"]:
        return False
    own(wanted["path"], FILE_MODE)
    write_stamp(wanted, os.lstat(wanted["path"]))
    return True


def take_in(wanted: dict[str, Any], part: str) -> None:
    """Bring what the action plugin sent into the store, and check that it arrived whole."""
    if plain_status(wanted["incoming"]) is None:
        raise StoreError(f"{wanted['incoming']}: is not a plain file; hint: run again")
    try:
        shutil.move(wanted["incoming"], part)
        arrived = files.sha256(part) == wanted["sha256"]
    except OSError:
        remove(part)
        raise
    if not arrived:
        remove(part)
        raise StoreError(f"{wanted['source']}: arrived damaged on the host; hint: run again")


def vouch(wanted: dict[str, Any]) -> None:
    """Stamp a file that is used where it is, without changing it."""
    before, found, after = os.stat(wanted["path"]), files.sha256(wanted["path"]), os.stat(wanted["path"])
    if found != wanted["sha256"]:
        raise StoreError(f"{wanted['path']}: has sha256 {found}, the inventory says {wanted['sha256']}")
    if identity(before) != identity(after):
        raise StoreError(f"{wanted['path']}: changed while it was read; hint: run again when it is complete")
    make_folder(os.path.dirname(wanted["stamp"]))
    write_stamp(wanted, after)


def refuse_unreadable(path: str, reader: str) -> None:
    """Refuse a file that the servers cannot read: they have accounts of their own, and share a group."""
    argv = ["runuser", "-u", "nobody", "-g", reader, "--", "test", "-r", path]
    tried = subprocess.run(argv, capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        reason = tried.stderr.strip() or f"group {reader} cannot read it"
        raise StoreError(f"{path}: {reason}; hint: chmod a+r the file, a+x its folders")
