"""A line at least every half minute while something long is silent: apt, a compiler, a reboot."""

import threading
import time
import weakref

from strixfleet.fleet.progress import silent_s, step


EVERY_S = 30.0
POLLS = 10  # looks per interval


class Heartbeat:
    """Says what still runs; ends with `end`, or with the object itself where a play breaks off."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        self._finished = threading.Event()

    def begin(self, what: str) -> None:
        """Watch over one step, in place of the one before."""
        self.end()
        self._finished = threading.Event()
        weakref.finalize(self, self._finished.set)
        arguments = (self._finished, what, self._every_s)
        threading.Thread(target=_beat, args=arguments, name="heartbeat", daemon=True).start()

    def end(self) -> None:
        """Watch no longer."""
        self._finished.set()


def _beat(finished: threading.Event, what: str, every_s: float) -> None:
    started = time.monotonic()
    while not finished.wait(every_s / POLLS):
        spent_s = time.monotonic() - started
        if min(silent_s(), spent_s) >= every_s:
            step(f"  still working: {what}, {duration(spent_s)}")


def duration(seconds: float) -> str:
    """Write `45 s` or `3 min`."""
    whole = int(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min"  # noqa: PLR2004 - two minutes
