"""A folder of the model store, held by descriptor, so that no link can lead a write elsewhere."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import stat
import time
from typing import Any, Self


NAME = re.compile(r"\.?[A-Za-z0-9][A-Za-z0-9._+-]*\Z")
RESERVE_MAX_BYTES = 1 << 30
BLOCK = 1 << 20


class StoreError(Exception):
    """Something in the store is not as it has to be."""


def identity(status: os.stat_result) -> dict[str, int]:
    """Return what a stamp remembers of a file."""
    return {"size_bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}


def read_stamp(text: str | None) -> dict[str, Any]:
    """Read a stamp; one that is damaged vouches for nothing."""
    try:
        value = json.loads(text or "")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def digest_of(descriptor: int) -> str:
    """Return the SHA-256 of an open file."""
    digest = hashlib.sha256()
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        for block in iter(lambda: file.read(BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


class Folder:
    """A folder that root alone can write; made when it is missing."""

    def __init__(self, path: str) -> None:
        self.path = path
        parent, name = os.path.split(path)
        base, store = os.path.split(parent)
        os.makedirs(base, mode=0o755, exist_ok=True)
        top = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
        middle = self._enter(top, store)
        self.descriptor = self._enter(middle, name)
        os.close(top)
        os.close(middle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_reason: object) -> None:
        os.close(self.descriptor)

    def _enter(self, parent: int, name: str) -> int:
        if not NAME.match(name) or ".." in name:
            raise StoreError(f"{name!r} is no name for a folder")
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=parent)
        try:
            found = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENOTDIR}:
                raise StoreError(f"{self.path}: {name} is a link or a file; hint: use a bind mount") from None
            raise
        if stat.S_IMODE(os.fstat(found).st_mode) != 0o755:  # noqa: PLR2004
            os.fchmod(found, 0o755)
        if os.geteuid() == 0:
            os.fchown(found, 0, 0)
        return found

    def lock(self, wait_s: float) -> None:
        """Wait for another run that works here; the lock goes with the process."""
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StoreError(f"{self.path}: another run has worked here for {wait_s:.0f} s") from None
                time.sleep(0.5)
            else:
                return

    def open(self, name: str, flags: int = os.O_RDONLY) -> int:
        """Open a plain file in here, never through a link."""
        if not NAME.match(name) or ".." in name:
            raise StoreError(f"{name!r} is no name for a file")
        found = os.open(
            name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600, dir_fd=self.descriptor
        )
        if not stat.S_ISREG(os.fstat(found).st_mode):
            os.close(found)
            raise StoreError(f"{self.path}/{name} is no plain file")
        return found

    def status(self, name: str) -> os.stat_result | None:
        """Describe a plain file; None where there is none, also where a link or folder stands."""
        try:
            found = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return found if stat.S_ISREG(found.st_mode) else None

    def read(self, name: str) -> str | None:
        """Read a small file."""
        if self.status(name) is None:
            return None
        with os.fdopen(self.open(name), encoding="utf-8", errors="replace") as file:
            return file.read(65536)

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        """Replace a small file at once: old or new, also after a power cut."""
        temporary = f"{name}.tmp"
        self.remove(temporary)
        with os.fdopen(
            self.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w", encoding="utf-8"
        ) as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        self.rename(temporary, name)

    def rename(self, old: str, new: str) -> None:
        """Return a file its name and make that lasting."""
        os.rename(old, new, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        os.fsync(self.descriptor)

    def remove(self, name: str) -> None:
        """Remove a file of ours, if there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)

    def spare_bytes(self) -> int:
        """Return what may be written: free space less a reserve, so that the system keeps breathing."""
        status = os.fstatvfs(self.descriptor)
        reserve = min(RESERVE_MAX_BYTES, status.f_blocks * status.f_frsize // 20)
        return status.f_bavail * status.f_frsize - reserve
