"""Progress, warnings and questions: lines on stderr, so that stdout holds results and nothing else."""

import sys
import time


_STARTED = time.monotonic()
_said_at = _STARTED


def say(text: str) -> None:
    """Say one line."""
    global _said_at  # noqa: PLW0603 - stderr is one for the whole process, and so is its silence
    _said_at = time.monotonic()
    print(text, file=sys.stderr, flush=True)


def silent_s() -> float:
    """Return the seconds since the last line."""
    return time.monotonic() - _said_at


def step(text: str) -> None:
    """Say one step of long work, with the time since the command began."""
    minutes, seconds = divmod(int(time.monotonic() - _STARTED), 60)
    say(f"[{minutes:2d}:{seconds:02d}] {text}")
