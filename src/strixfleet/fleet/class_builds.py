"""
Keep what hosts have built on the controller, for the others of their class.

Each inventory has builds of its own: a host that was broken into reaches no other fleet by them. What was
recorded when a build came in is compared each time before it goes to a host.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

from platformdirs import user_cache_path

from strixfleet.errors import ChangeFailed
from strixfleet.on_host import files
from strixfleet.tools import file_lock


MOST_BYTES = 8 << 30  # of one build, and of all that are kept


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is recorded of a build when it comes in."""

    id: str
    commit: str
    built_on: str
    sha256: str
    size_bytes: int


def builds_folder() -> Path:
    """Return the folder of all fleets' builds."""
    return user_cache_path("strixfleet") / "builds"


class ClassBuilds:
    """The builds of one fleet."""

    def __init__(self, inventory: Path) -> None:
        mark = hashlib.sha256(str(inventory.resolve()).encode()).hexdigest()[:16]
        self.folder = builds_folder() / mark

    def path(self, build_class: str) -> Path:
        """Return where the build of a class is kept."""
        return self.folder / f"{build_class}.tar"

    def held(self, build_class: str) -> AbstractContextManager[None]:
        """Let one process at a time look for a build of a class and make it."""
        return file_lock.held(self.folder / f"{build_class}.lock")

    def recorded(self, build_class: str) -> Parcel | None:
        """Return what was recorded of a class's build; None where none is kept."""
        try:
            text = self._record(build_class).read_text(encoding="utf-8")
            found = Parcel(**json.loads(text))
        except (OSError, ValueError, TypeError):
            return None
        return found if self.path(build_class).exists() else None

    def taken(self, build_class: str) -> Parcel | None:
        """Return the record of a build that is to be sent; raise where the file is not what was recorded."""
        parcel = self.recorded(build_class)
        if parcel is None:
            return None
        path = self.path(build_class)
        if files.sha256(str(path)) != parcel.sha256:
            raise ChangeFailed(
                f"is not what {parcel.built_on} has built: its SHA-256 is not {parcel.sha256}",
                where=str(path),
                hint="find out who changed it, then remove it: the next run builds it again",
            )
        path.touch()
        return parcel

    def incoming(self, build_class: str) -> Path:
        """Return where a build is written to while it comes in; only who holds the class may use it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f".{build_class}.new"

    def keep(self, build_class: str, parcel: Parcel) -> None:
        """Record what came in, if it is what its host says, and keep it; forget what was used longest ago."""
        incoming = self.incoming(build_class)
        if parcel.size_bytes != incoming.stat().st_size or files.sha256(str(incoming)) != parcel.sha256:
            incoming.unlink()
            raise ChangeFailed("what came from the host is not what it has packed", where=parcel.built_on)
        incoming.replace(self.path(build_class))
        files.write(str(self._record(build_class)), json.dumps(asdict(parcel)).encode())
        forget_oldest(MOST_BYTES)

    def _record(self, build_class: str) -> Path:
        return self.folder / f"{build_class}.json"


def forget_oldest(most_bytes: int) -> None:
    """Remove builds until the rest fits; the latest used are kept, the last one in any case."""
    left_bytes = most_bytes
    for number, (_used_at, size_bytes, path) in enumerate(sorted(_kept(), reverse=True)):
        left_bytes -= size_bytes
        if left_bytes < 0 and number > 0:
            path.with_suffix(".json").unlink(missing_ok=True)
            path.unlink(missing_ok=True)


def _kept() -> Iterator[tuple[float, int, Path]]:
    for path in builds_folder().glob("*/*.tar"):
        try:
            status = path.stat()
        except FileNotFoundError:  # another process forgets, too
            continue
        yield status.st_mtime, status.st_size, path
