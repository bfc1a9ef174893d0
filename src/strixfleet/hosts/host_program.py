"""Calls the host program over a connection, and reads its one line of JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from strixfleet.errors import ChangeFailed, ProbeFailed
from strixfleet.hosts.remote import Remote
from strixfleet.on_host.questions import Json


PROGRAM = "/opt/strixfleet/lib/strixfleet-host"
SHORT_TIMEOUT_S = 10.0
SWITCH_TIMEOUT_S = 180.0  # a stop may take the unit's TimeoutStopSec, a drain its own limit


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """What the host program said; builds are ids, None where there is none."""

    changed: bool
    error: str
    current: str | None
    previous: str | None
    builds: tuple[str, ...]
    pending: Mapping[str, Json]
    refused: tuple[Mapping[str, Any], ...]
    lock: Mapping[str, Any]
    token: int | None


def read_answer(stdout: str, stderr: str, *, host: str) -> HostAnswer:
    """Read the answer; whatever else was printed is no answer."""
    try:
        data = json.loads(stdout)
    except ValueError:
        data = None
    if not isinstance(data, dict) or data.get("schema") != "strixfleet/host/1":
        said = (stderr.strip() or stdout.strip() or "nothing").splitlines()[-1][:300]
        hint = "`strixfleet provision` installs it"
        raise ProbeFailed(f"{PROGRAM} gave no answer: {said}", where=host, hint=hint)
    return HostAnswer(
        changed=bool(data["changed"]),
        error=data["error"] or "",
        current=data["current"],
        previous=data["previous"],
        builds=tuple(data["builds"]),
        pending=data["pending"] or {},
        refused=tuple(data["refused"]),
        lock=data["lock"] or {},
        token=data.get("token"),
    )


class HostProgram:
    """The host program of one host; `token` is the fleet lock's."""

    def __init__(self, host: str, remote: Remote, token: int | None = None) -> None:
        self.host = host
        self.remote = remote
        self.token = token

    def call(self, *words: str, timeout_s: float = SHORT_TIMEOUT_S) -> HostAnswer:
        """Call a verb; what it refuses is in the answer's `error`."""
        fence = [] if self.token is None or words[0] == "status" else ["--token", str(self.token)]
        done = self.remote.run([PROGRAM, *words, *fence], timeout_s=timeout_s)
        return read_answer(done.stdout, done.stderr, host=self.host)

    def must(self, *words: str, timeout_s: float = SHORT_TIMEOUT_S) -> HostAnswer:
        """Call a verb; raise what it refuses."""
        answer = self.call(*words, timeout_s=timeout_s)
        if answer.error:
            raise ChangeFailed(answer.error, where=self.host)
        return answer
