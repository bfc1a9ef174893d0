"""The repository of llama.cpp on this machine, for the verbs that read its commits."""

import hashlib
from pathlib import Path

from platformdirs import user_cache_path

from strixfleet.tools import git


def local_repository(address: str) -> Path:
    """Return a repository on this machine: a path as it is, for a URL a mirror that is brought up to date."""
    if address.startswith(("/", "./", "../", "~")):
        return Path(address).expanduser().resolve()
    digest = hashlib.sha256(address.encode()).hexdigest()[:16]
    mirror = user_cache_path("strixfleet") / "llama.cpp" / f"mirror-{digest}.git"
    git.update_mirror(address, mirror)
    return mirror
