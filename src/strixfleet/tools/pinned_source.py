"""
Find a pin in a repository on this machine: a path as it is, a URL in a mirror in the cache.

So hosts need no way to the repository: what they lack of it is sent to them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from strixfleet.errors import ChangeFailed, FleetError
from strixfleet.tools import git


KEPT_BUNDLES = 4


@dataclass(frozen=True, slots=True)
class PinnedSource:
    """A repository here that holds a pin, and the commit that it names."""

    repository: Path
    ref: str
    commit: str

    def bundle_after(self, known: Sequence[str]) -> Path:
        """
        Return a bundle with what somebody lacks who has the known commits, of which ancestors count.

        The latest few are kept.
        """
        before = git.ancestors_of(self.repository, self.commit, known)
        mark = f"-{hashlib.sha256(' '.join(before).encode()).hexdigest()[:8]}" if before else ""
        bundle = git.cache_folder() / f"{self.commit}{mark}.bundle"
        if not bundle.is_file():
            git.bundle(self.repository, self.ref, bundle, before)
        bundle.touch()
        for old in sorted(bundle.parent.glob("*.bundle"), key=_age)[:-KEPT_BUNDLES]:
            old.unlink(missing_ok=True)
        return bundle


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # somebody else has removed it
        return 0.0


def pinned_source(address: str, ref: str) -> PinnedSource:
    """
    Find a pin; a mirror is brought up to date, except for a commit that it holds.

    A pin that the mirror holds is found without a network, too.
    """
    mirror = git.mirror_of(address)
    known = None if mirror is None else _in_mirror(mirror, ref)
    if mirror is None or known is None or not git.COMMIT.match(ref):
        try:
            repository = _brought_up_to_date(address)
        except ChangeFailed:
            if known is None:
                raise
            return known
        return PinnedSource(repository, ref, git.resolve(repository, ref).commit)
    return known


def _in_mirror(mirror: Path, ref: str) -> PinnedSource | None:
    try:
        return PinnedSource(mirror, ref, git.resolve(mirror, ref).commit)
    except FleetError:
        return None


def _brought_up_to_date(address: str) -> Path:
    """Return the repository; fail within seconds where the address does not answer."""
    if git.mirror_of(address) is not None and not git.upstream_answers(address):
        raise ChangeFailed("cannot be reached from the controller", where=address)
    return git.local_repository(address)
