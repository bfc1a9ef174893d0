"""Call strixfleet-host, the program on hosts that switches builds, and read its one line of JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from strixfleet.errors import ChangeFailed, ProbeFailed
from strixfleet.hosts.remote import Remote
from strixfleet.on_host.envelope import DONE, FENCED, LOCK_EXPIRED, LOCKED, REFUSED
from strixfleet.on_host.questions import Json
from strixfleet.on_host.switch.strixfleet_host import SCHEMA


PROGRAM = "/opt/strixfleet/lib/strixfleet-host"
SHORT_TIMEOUT_S = 10.0
SWITCH_TIMEOUT_S = 180.0  # a stop may take the unit's TimeoutStopSec, a drain its own limit
LOST_LOCK = frozenset({FENCED, LOCKED, LOCK_EXPIRED})
# Programs that were installed before answers had codes say it in these words; they will not change any more.
_WORDS_BEFORE_CODES = {"somebody took over": FENCED, "locked by ": LOCKED, "has run out": LOCK_EXPIRED}


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
    code: str = DONE

    @property
    def lost_lock(self) -> bool:
        """Whether the call was refused because the caller does not hold the fleet lock, or no longer."""
        return self.code in LOST_LOCK


def read_answer(stdout: str, stderr: str, *, host: str) -> HostAnswer:
    """Find the answer among what was printed; a login shell may print lines of its own."""
    answer = next((found for line in stdout.splitlines() if (found := _parsed(line)) is not None), None)
    if answer is None:
        said = (stderr.strip() or stdout.strip() or "nothing").splitlines()[-1][:300]
        hint = "`strixfleet provision` installs it"
        raise ProbeFailed(f"{PROGRAM} gave no answer: {said}", where=host, hint=hint)
    error = str(answer["error"] or "")
    return HostAnswer(
        changed=bool(answer["changed"]),
        error=error,
        current=answer["current"],
        previous=answer["previous"],
        builds=tuple(answer["builds"]),
        pending=answer["pending"] or {},
        refused=tuple(answer["refused"]),
        lock=answer["lock"] or {},
        token=answer.get("token"),
        code=answer.get("code") or _code_before_codes(error),
    )


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        data = json.loads(line)
    except ValueError:
        return None
    return data if isinstance(data, dict) and data.get("schema") == SCHEMA else None


def _code_before_codes(error: str) -> str:
    if not error:
        return DONE
    return next((code for words, code in _WORDS_BEFORE_CODES.items() if words in error), REFUSED)


class HostProgram:
    """The host program of one host; `token` is the fleet lock's."""

    def __init__(self, host: str, remote: Remote, token: int | None = None) -> None:
        self.host = host
        self.remote = remote
        self.token = token

    def call(self, *words: str, timeout_s: float = SHORT_TIMEOUT_S) -> HostAnswer:
        """Call a verb; a refusal is in the answer's `error` and `code`."""
        fence = [] if self.token is None or words[0] == "status" else ["--token", str(self.token)]
        done = self.remote.run([PROGRAM, *words, *fence], timeout_s=timeout_s)
        return read_answer(done.stdout, done.stderr, host=self.host)

    def must(self, *words: str, timeout_s: float = SHORT_TIMEOUT_S) -> HostAnswer:
        """Call a verb; raise ChangeFailed where it is refused."""
        answer = self.call(*words, timeout_s=timeout_s)
        if answer.error:
            raise ChangeFailed(answer.error, where=self.host)
        return answer
