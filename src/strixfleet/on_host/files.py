"""Files on a host: read what is small, digest what is large, replace at one stroke and durably."""

from __future__ import annotations

import errno
import grp
import hashlib
import os
import pwd
import stat
from typing import BinaryIO


READ_LIMIT_BYTES = 256 * 1024
REAL = ("/proc/sys/kernel/random/", "/proc/uptime")  # those of the real machine, on a simulated host too


def under(root: str, path: str) -> str:
    """Return the stand-in for a path below /proc or /sys on a host that presents a simulated box."""
    simulated = path.startswith(("/sys/", "/proc/")) and not path.startswith(REAL)
    return root + path if root and simulated else path


def opened(path: str) -> BinaryIO:
    """Open a plain file to be read; a pipe in its place would never end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a plain file", path)
    return os.fdopen(descriptor, "rb")


def read_text(path: str, limit_bytes: int = READ_LIMIT_BYTES) -> str | None:
    """Read a small text file; None where there is none."""
    try:
        with opened(path) as file:
            return file.read(limit_bytes).decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return None


def sha256(path: str) -> str:
    """Return the digest of a file of any size."""
    digest = hashlib.sha256()
    with opened(path) as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def digest(path: str) -> str:
    """Return a file's SHA-256, or `-> target` for a link."""
    return "-> " + os.readlink(path) if os.path.islink(path) else sha256(path)


def owner_of(status: os.stat_result) -> tuple[str, str]:
    """Return the owner and the group, as numbers where they have no name."""
    try:
        owner = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        owner = str(status.st_uid)
    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    return owner, group


def mode_of(status: os.stat_result) -> str:
    """Return the permissions as four octal digits."""
    return "%04o" % (status.st_mode & 0o7777)


def sync(path: str) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(
    path: str, data: bytes, mode: int = 0o644, owner: tuple[int, int] | None = None, draft: str | None = None
) -> None:
    """
    Replace a file: a power cut leaves the old one or the new one, whole.

    `draft` is where it is written first, on the same file system. A draft that an earlier call left there is
    overwritten, so two writers at a time need two drafts.
    """
    draft = draft or path + ".strixfleet-new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
            file.write(data)
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:  # the error of a write does not name the file
        raise OSError(problem.errno, problem.strerror, path) from problem
    rename(draft, path)


def overwrite(path: str, data: bytes) -> None:
    """
    Write into a file that is there, within the room that it has; raise OSError where it has too little.

    For a disk without room for a new file. What is left of the old content becomes blanks.
    """
    with open(path, "r+b") as file:
        status = os.fstat(file.fileno())
        if len(data) > status.st_blocks * 512:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        file.write(data.ljust(status.st_size))
        file.flush()
        os.fsync(file.fileno())


def rename(old: str, new: str) -> None:
    """Rename within a folder or between two, and make it outlive a power cut."""
    os.rename(old, new)
    sync(os.path.dirname(new))


def said_of(problem: OSError) -> str:
    """Return what went wrong, with the file where it is about one."""
    if problem.filename is None or problem.strerror is None:
        return str(problem)
    return "%s: %s" % (problem.filename, problem.strerror)
