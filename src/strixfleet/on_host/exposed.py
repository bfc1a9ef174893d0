"""What others than root may change of a folder, and what runs a copy of a program under whatever name."""

from __future__ import annotations

import glob
import os
import stat
from typing import Iterator

from . import files


NOT_ROOTS_ALONE = stat.S_IWGRP | stat.S_IWOTH | stat.S_ISUID | stat.S_ISGID


def writable(subject: str, _root: str) -> dict[str, str]:
    """
    Return {path: mode and owner} of what is not root's alone: a path and each folder on the way to it.

    With a slash at its end all below it, too. Links are followed to where they lead, and not counted.
    """
    path = os.path.realpath(subject)
    below = _all_below(path) if subject.endswith("/") else iter(())
    return {one: row for one in [*_way_to(path), *below] if (row := _not_roots_alone(one))}


def _way_to(path: str) -> Iterator[str]:
    yield path
    while path != os.path.dirname(path):
        path = os.path.dirname(path)
        yield path


def _all_below(path: str) -> Iterator[str]:
    for folder, folders, entries in os.walk(path):
        for name in sorted(folders + entries):
            yield os.path.join(folder, name)


def _not_roots_alone(path: str) -> str:
    """Return mode and owner where another than root may write there, or becomes root by it; else nothing."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if stat.S_ISLNK(status.st_mode) or (status.st_uid == 0 and not status.st_mode & NOT_ROOTS_ALONE):
        return ""
    return "%s %s:%s" % (files.mode_of(status), *files.owner_of(status))


def running_copies(pattern: str, _root: str) -> dict[str, str]:
    """Return {pid: program} of the processes that run a file that a pattern names, or a copy of one."""
    known = [(path, os.stat(path)) for path in glob.glob(pattern)]
    found = {}
    for link in glob.glob("/proc/[0-9]*/exe"):
        try:
            status, program = os.stat(link), os.readlink(link)
            if any(_same(link, status, path, other) for path, other in known):
                found[link.split("/")[2]] = program
        except OSError:  # it ended meanwhile, or is the kernel's
            continue
    return found


def _same(link: str, status: os.stat_result, path: str, other: os.stat_result) -> bool:
    if os.path.samestat(status, other):
        return True
    return status.st_size == other.st_size and files.sha256(link) == files.sha256(path)
