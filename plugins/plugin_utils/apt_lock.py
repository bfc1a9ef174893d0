"""Wait, on the controller, for another apt on a host; a module cannot say anything before it has ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


PROGRESS = "strixfleet-progress: "  # lines that begin so are shown by the command
WAIT_S = 300.0
SAY_EVERY_S = 30.0

Answer = dict[str, Any]


def until_unlocked(
    execute: Callable[[], Answer],
    say: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
) -> Answer:
    """Run a module again while its answer says that apt is locked; say at once, and again, by whom."""
    began, said_at = clock(), -SAY_EVERY_S
    while holder := (answer := execute()).get("locked"):
        waited_s = clock() - began
        if waited_s >= WAIT_S:
            hint = "wait until it ends, or see what it does"
            return {**answer, "msg": f"apt is still held by {holder} after {WAIT_S:.0f} s; hint: {hint}"}
        if waited_s - said_at >= SAY_EVERY_S:
            say(f"waiting for apt, which {holder} holds")
            said_at = waited_s
    return answer
