"""
The journal of a rollout on this controller: a text that a person can read, and the state to go on from.

`<start>.log` gets one sentence per event, `<start>.json` is replaced after each. Losing them loses history
and the means to go on where a killed run stopped; what the hosts run is written on the hosts.
"""

import copy
import json
import os
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from platformdirs import user_state_path

from strixfleet.errors import UsageError
from strixfleet.on_host.questions import Json
from strixfleet.rollout.rollout_state import Rollout, from_json, to_json


def journal_folder() -> Path:
    """Return the folder."""
    return user_state_path("strixfleet") / "rollouts"


@dataclass(slots=True)
class Journal:
    """One rollout; `about` is what does not change: inventory, ref, and the builds by host."""

    path: Path
    about: dict[str, Json]
    state: Rollout | None = None
    notes: dict[str, dict[str, Json]] = field(default_factory=dict)
    _writing: threading.Lock = field(default_factory=threading.Lock, compare=False, repr=False)

    def write(self, line: str) -> None:
        """Add a sentence, with the time."""
        stamp = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        with self.path.with_suffix(".log").open("a", encoding="utf-8") as file:
            file.write(f"{stamp} {line}\n")

    def note(self, host: str, **facts: Json) -> None:
        """Keep facts of a host that the report needs."""
        with self._writing:  # hosts are worked on in threads
            self.notes.setdefault(host, {}).update(facts)

    def keep(self, state: Rollout) -> None:
        """Replace the state, whole or not at all."""
        self.state = state
        with self._writing:
            notes = copy.deepcopy(self.notes)
        data = {"schema": "strixfleet/rollout/1", **self.about, "notes": notes, "state": to_json(state)}
        draft = self.path.with_suffix(".new")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(data, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)


def begin(about: dict[str, Json], folder: Path | None = None) -> Journal:
    """Begin the journal of a new rollout."""
    place = folder or journal_folder()
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UsageError(f"cannot be made ({error.strerror})", where=str(place)) from None
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    return Journal(place / f"{stamp}.json", about)


def find_unfinished(about: dict[str, Json], folder: Path | None = None) -> Journal | None:
    """Find the newest rollout, if it is the same one and was cut; a newer or finished one ends the matter."""
    place = folder or journal_folder()
    for path in sorted(place.glob("*.json"), reverse=True):
        data = _read(path)
        if data is None or data.get("inventory") != about["inventory"]:
            continue
        if any(data.get(key) != value for key, value in about.items()):
            return None
        try:
            state = from_json(data["state"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        return None if state.finished else Journal(path, about, state, dict(data.get("notes") or {}))
    return None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None
