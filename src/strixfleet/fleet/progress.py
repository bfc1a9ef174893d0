"""Progress, warnings and questions: lines on stderr, so that stdout holds results and nothing else."""

import sys
import time


_STARTED = time.monotonic()


def say(text: str) -> None:
    """Say one line."""
    print(text, file=sys.stderr, flush=True)


def step(text: str) -> None:
    """Say one step of long work, with the time since the command began."""
    minutes, seconds = divmod(int(time.monotonic() - _STARTED), 60)
    say(f"[{minutes:2d}:{seconds:02d}] {text}")
