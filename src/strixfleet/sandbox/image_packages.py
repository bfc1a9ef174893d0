"""
Cache downloaded Debian packages for all hosts.

Each host has a separate archives folder, because apt locks it: two hosts could not install from one folder at
the same time. The folders are filled with hard links to a pool, which takes over new packages at the end.
"""

import os
import shutil
import time
from pathlib import Path

from strixfleet.sandbox.sandbox_state import cache_dir


KEEP_UNUSED_S = 30 * 24 * 3600


def pool() -> Path:
    """Return the folder with every package that any host downloaded."""
    return cache_dir() / "packages"


def offer(host_label: str) -> Path:
    """Create a host's archives folder, with links to all packages of the pool."""
    folder = cache_dir() / "archives" / host_label
    (folder / "partial").mkdir(parents=True, exist_ok=True)
    pool().mkdir(parents=True, exist_ok=True)
    prune()
    _link_all(pool(), folder)
    return folder


def collect(host_label: str) -> None:
    """Link a stopped host's packages into the pool, and remove its folder; all files in it are complete."""
    folder = cache_dir() / "archives" / host_label
    if folder.is_dir():
        pool().mkdir(parents=True, exist_ok=True)
        _link_all(folder, pool())
        shutil.rmtree(folder)


def prune() -> None:
    """Delete packages that no host used for a month; each new link renews the ctime."""
    for package in pool().glob("*.deb"):
        if time.time() - package.stat().st_ctime > KEEP_UNUSED_S:
            package.unlink()


def _link_all(source: Path, target: Path) -> None:
    for package in source.glob("*.deb"):
        if package.is_symlink() or not package.is_file():
            continue
        try:
            os.link(package, target / package.name)
        except FileExistsError:
            continue
