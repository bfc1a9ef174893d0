"""
Keep downloaded Debian packages between hosts.

Each host has an archives folder of its own, because apt locks it: of two hosts that install at once on a
shared one, one fails. The folders share files by hard links with a pool, which collects new ones at the end.
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
    """Return a host its archives folder, filled with what the pool holds."""
    folder = cache_dir() / "archives" / host_label
    (folder / "partial").mkdir(parents=True, exist_ok=True)
    pool().mkdir(parents=True, exist_ok=True)
    prune()
    _link_all(pool(), folder)
    return folder


def collect(host_label: str) -> None:
    """Keep what a stopped host downloaded, and remove its folder; apt writes whole files by rename only."""
    folder = cache_dir() / "archives" / host_label
    if folder.is_dir():
        pool().mkdir(parents=True, exist_ok=True)
        _link_all(folder, pool())
        shutil.rmtree(folder)


def prune() -> None:
    """Forget packages that no host was offered or brought for a while; each link made renews the ctime."""
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
