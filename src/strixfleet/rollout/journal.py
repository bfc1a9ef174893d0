"""
The journal of a rollout on this controller: a log for people, and the state to resume from.

`<start>.log` gets one sentence per event, `<start>.json` is replaced after each. Without them an interrupted
rollout cannot be resumed; nothing else is lost, because what a host runs is recorded on the host.
"""

import json
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from platformdirs import user_state_path

from strixfleet.errors import UsageError
from strixfleet.on_host import files
from strixfleet.on_host.questions import Json
from strixfleet.rollout.host_notes import HostNotes
from strixfleet.rollout.rollout_state import Rollout, from_json, to_json


def journal_folder() -> Path:
    """Return the folder of all journals."""
    return user_state_path("strixfleet") / "rollouts"


@dataclass(slots=True)
class Journal:
    """One rollout; `about` tells which one: its inventory, its refs, and the build for each host."""

    path: Path
    about: dict[str, Json]
    state: Rollout | None = None
    notes: dict[str, HostNotes] = field(default_factory=dict)
    _writing: threading.Lock = field(default_factory=threading.Lock, compare=False, repr=False)

    def write(self, line: str) -> None:
        """Add a line to the log, with the time."""
        stamp = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        with self.path.with_suffix(".log").open("a", encoding="utf-8") as file:
            file.write(f"{stamp} {line}\n")

    def note(self, host: str, **facts: Any) -> None:  # noqa: ANN401 - fields of HostNotes
        """Keep facts about a host, for the report."""
        with self._writing:  # each host is worked on in a thread of its own
            self.notes[host] = replace(self.notes.get(host, HostNotes()), **facts)

    def keep(self, state: Rollout) -> None:
        """Replace the state atomically."""
        self.state = state
        with self._writing:
            notes = {host: one.to_json() for host, one in self.notes.items()}
        data = {"schema": "strixfleet/rollout/1", **self.about, "notes": notes, "state": to_json(state)}
        draft = str(self.path.with_suffix(".new"))
        files.write(str(self.path), json.dumps(data, indent=1).encode(), draft=draft)


def begin(about: dict[str, Json], folder: Path | None = None) -> Journal:
    """Begin the journal of a new rollout."""
    place = folder or journal_folder()
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        hint = "set XDG_STATE_HOME to a folder that you can write to"
        raise UsageError(f"cannot be created: {error.strerror}", where=str(place), hint=hint) from None
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    return Journal(place / f"{stamp}.json", about)


def find_unfinished(about: dict[str, Json], folder: Path | None = None) -> Journal | None:
    """Return the journal of this rollout if it was interrupted and no other one followed on its inventory."""
    place = folder or journal_folder()
    for path in sorted(place.glob("*.json"), reverse=True):
        data = _read(path)
        if data is None or data.get("inventory") != about["inventory"]:
            continue
        if any(data.get(key) != value for key, value in about.items()):
            return None
        try:
            state = from_json(data["state"])
            notes = {host: HostNotes.from_json(row) for host, row in (data.get("notes") or {}).items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        return None if state.finished else Journal(path, about, state, notes)
    return None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None
