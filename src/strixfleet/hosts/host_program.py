"""Call strixfleet-host, the program on hosts that switches builds, and read its one line of JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from strixfleet.errors import ChangeFailed, ProbeFailed
from strixfleet.hosts.host_code import read_shape
from strixfleet.hosts.remote import Remote
from strixfleet.on_host import json_text
from strixfleet.on_host.envelope import DONE, FENCED, LOCK_EXPIRED, LOCKED, REFUSED
from strixfleet.on_host.switch.strixfleet_host import SCHEMA


PROGRAM = "/opt/strixfleet/lib/strixfleet-host"
SHORT_TIMEOUT_S = 10.0
SWITCH_TIMEOUT_S = 180.0  # a stop may take the unit's TimeoutStopSec, a drain its own limit
LOST_LOCK = frozenset({FENCED, LOCKED, LOCK_EXPIRED})
# Programs that were installed before answers had codes say it in these words; they will not change any more.
_WORDS_BEFORE_CODES = {"somebody took over": FENCED, "locked by ": LOCKED, "has run out": LOCK_EXPIRED}


Seconds = Annotated[float, Field(ge=0)]
_Pending = TypedDict("_Pending", {"from": str | None, "to": str, "left_s": Seconds})


class _BadRef(TypedDict):
    ref: str
    build: str
    reason: str
    at: str


class _Lock(TypedDict):
    owner: str
    since: str
    token: int | None
    length_s: Seconds
    left_s: Seconds


class _Line(TypedDict):
    """What the program prints; `ok`, `code` and `token` are missing in that of earlier versions."""

    changed: bool
    error: str | None
    current: str | None
    previous: str | None
    builds: list[str]
    pending: _Pending | None
    refused: list[_BadRef]
    lock: _Lock | None
    token: NotRequired[int | None]
    ok: NotRequired[bool]
    code: NotRequired[str]


_LINE: TypeAdapter[_Line] = TypeAdapter(_Line)


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """What the host program said; builds are ids, None where there is none."""

    changed: bool
    error: str
    current: str | None
    previous: str | None
    builds: tuple[str, ...]
    pending: Mapping[str, Any]
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
    failure = f"{PROGRAM} gave an answer that cannot be read"
    said_all = read_shape(_LINE, answer, host=host, failure=failure)
    error = said_all["error"] or ""
    code = said_all.get("code") or _code_before_codes(error)
    if said_all.get("ok", not error) != (not error) or (code == DONE) != (not error):
        raise ProbeFailed(f"{failure}: it says both that it was done and that it was not", where=host)
    return HostAnswer(
        changed=said_all["changed"],
        error=error,
        current=said_all["current"],
        previous=said_all["previous"],
        builds=tuple(said_all["builds"]),
        pending=said_all["pending"] or {},
        refused=tuple(said_all["refused"]),
        lock=said_all["lock"] or {},
        token=said_all.get("token"),
        code=code,
    )


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        data = json_text.parsed_map(line)
    except ValueError:
        return None
    return data if data.get("schema") == SCHEMA else None


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
