"""
The one form in which a program on a host answers: `{ok, code, text, data}` in one line of JSON.

The controller decides by `code`; `text` is for people. A mark stands before the line, so that a login shell
that prints something of its own cannot corrupt it.
"""

from __future__ import annotations

import json
from typing import Any, Callable, NamedTuple

from . import json_text
from .files import said_of


MARK = "strixfleet-answer:"

DONE = "done"
FAILED = "failed"  # an error that nobody foresaw: a full disk, a missing file, a defect
REFUSED = "refused"  # nothing was done, for a reason that has no code of its own
LOCKED = "locked"  # somebody else holds the fleet lock
FENCED = "fenced"  # somebody else took the fleet lock over: this token is old
LOCK_EXPIRED = "lock_expired"  # nobody holds the fleet lock any more, nor does this token
LEASE_OVER = "lease_over"  # the trial was not renewed in time
ON_TRIAL = "on_trial"  # another build is on trial
NOT_ON_TRIAL = "not_on_trial"
UNEXPECTED_BUILD = "unexpected_build"  # another build is current than the caller expected
INTERRUPTED = "interrupted"  # somebody ended the switch while it waited
BAD_BUILD = "bad_build"  # absent, damaged, or not a build at all
KNOWN_BAD = "known_bad"  # it was taken back here before
IN_USE = "in_use"
NO_WAY_BACK = "no_way_back"  # there is no previous build, or one for another backend
DAMAGED = "damaged"  # a record on the host cannot be believed: what is in doubt is refused, or goes back
NOT_RESTARTED = "not_restarted"  # systemd could not restart or stop the servers


class Refused(Exception):
    """Why nothing was done: a code for the controller and a sentence for people."""

    def __init__(self, text: str, code: str = REFUSED) -> None:
        super().__init__(text)
        self.code = code


class Envelope(NamedTuple):
    """One answer; `data` is what was asked for, where `ok` is false perhaps None."""

    ok: bool
    code: str
    text: str = ""
    data: Any = None


def answered(act: Callable[[], Any]) -> Envelope:
    """Do what is asked and return what came of it, whatever goes wrong."""
    try:
        return Envelope(True, DONE, "", act())
    except Refused as refusal:
        return Envelope(False, refusal.code, str(refusal))
    except OSError as problem:
        return Envelope(False, FAILED, said_of(problem))
    except Exception as problem:
        return Envelope(False, FAILED, "%s: %s" % (type(problem).__name__, problem))


def serve(act: Callable[[Any], Any], request: Any) -> None:
    """Do what is asked and print what came of it, on a line of its own."""
    envelope = answered(lambda: act(request))
    print("\n%s%s" % (MARK, json.dumps(envelope._asdict())), flush=True)


def received(stdout: str) -> Envelope | None:
    """Find the answer in what a program printed; None where there is none, or a damaged one."""
    for line in stdout.splitlines():
        if line.startswith(MARK):
            try:
                found = Envelope(**json_text.parsed_map(line[len(MARK) :]))
            except (ValueError, TypeError):
                return None
            return found if _is_sound(found) else None
    return None


def _is_sound(found: Envelope) -> bool:
    """Tell whether an answer has the types of one, and its code says the same as its `ok`."""
    texts = isinstance(found.code, str) and isinstance(found.text, str)
    return texts and isinstance(found.ok, bool) and found.ok == (found.code == DONE)
