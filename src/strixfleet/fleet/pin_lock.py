"""The commits that tags named when this inventory first installed them, kept in a file beside it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from strixfleet.errors import FleetError, UsageError
from strixfleet.fleet.progress import say
from strixfleet.fleet.session import now
from strixfleet.inventory.schema.fleet_model import Fleet
from strixfleet.managed.llama_cpp.build import Pinned, plain_address
from strixfleet.on_host import files
from strixfleet.on_host.questions import Json
from strixfleet.tools import git


NAME = "pins.json"
HINT = "find out why, then pin the 40-digit commit that you trust, or remove the tag from the file"


@dataclass(frozen=True, slots=True)
class Locked:
    """The commit that a tag named, and since when."""

    commit: str
    since: str


def lock_file(fleet: Fleet) -> Path:
    """Return where the lock of a fleet's pins is: with its host keys, beside the inventory."""
    return Path(fleet.known_hosts).parent / NAME


def hold_tags(path: Path, pins: Iterable[Pinned], *, write: bool) -> None:
    """
    Refuse tags that moved since they were first installed, and tags of whose name there is a branch, too.

    Tags that are new are written down. One that cannot be looked up is said, and left to the hosts.
    """
    tags = dict.fromkeys(one for one in pins if not git.COMMIT.match(one.ref))
    known = read_lock(path) if tags else {}
    before = dict(known)
    for pin in tags:
        commit = _commit_of(pin)
        if commit is None:
            continue
        held = known.setdefault(_key(pin), Locked(commit, now().date().isoformat()))
        if held.commit != commit:
            text = f"tag {pin.ref} has moved: it named {held.commit} on {held.since}, now it names {commit}"
            raise UsageError(text, where=str(path), hint=HINT)
    if write and known != before:
        _write(path, known)


def _commit_of(pin: Pinned) -> str | None:
    try:
        named = git.named_at(pin.repository, pin.ref)
    except FleetError as problem:
        say(f"warning: could not look up whether tag {pin.ref} has moved: {problem}")
        return None
    if named.tag is not None and named.branch is not None:
        raise git.two_of_a_name(pin.repository, pin.ref, named.tag, named.branch)
    return named.tag


def _key(pin: Pinned) -> tuple[str, str]:
    return plain_address(pin.repository), pin.ref


def read_lock(path: Path) -> dict[tuple[str, str], Locked]:
    """Return {(repository, tag): what it named}; an unreadable file is not taken for an empty one."""
    try:
        data: Json = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from None
    found = {}
    for repository, tags in _map(path, data).items():
        for tag, row in _map(path, tags).items():
            fields = _map(path, row)
            commit, since = fields.get("commit"), fields.get("since")
            if not isinstance(commit, str) or not git.COMMIT.match(commit) or not isinstance(since, str):
                raise _damaged(path, f"{tag} has no commit and date")
            found[(repository, tag)] = Locked(commit, since)
    return found


def _map(path: Path, value: Json) -> Mapping[str, Json]:
    if not isinstance(value, dict):
        raise _damaged(path, "a map is missing")
    return value


def _damaged(path: Path, why: str) -> UsageError:
    return UsageError(
        f"the lock of the pins cannot be read: {why}",
        where=str(path),
        hint="restore it from version control, or remove it to trust the tags as they are now",
    )


def _write(path: Path, known: Mapping[tuple[str, str], Locked]) -> None:
    rows: dict[str, dict[str, Json]] = {}
    for (repository, tag), held in sorted(known.items(), key=lambda row: row[0]):
        rows.setdefault(repository, {})[tag] = {"commit": held.commit, "since": held.since}
    text = json.dumps(rows, indent=2) + "\n"
    try:
        path.parent.mkdir(mode=0o755, exist_ok=True)
        files.write(str(path), text.encode(), mode=0o644)
    except OSError as error:
        say(f"warning: what the tags name now is not kept: {path}: {error.strerror}")
