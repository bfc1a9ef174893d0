"""
Watch servers on this host during an upgrade: are they up, do they stay up, how long did callers wait.

It writes nothing. Waiting is done here, so that no connection is needed for it.
"""

from __future__ import annotations

import os
import re
import time
from typing import Any, Callable

from . import command, confined, systemd
from .http_client import OK, Server


BUILDS = "/opt/strixfleet/llama.cpp"
ACTIVATION = "/var/lib/strixfleet/activation.json"
PROPERTIES = ("ActiveState", "Result", "NRestarts", "InvocationID", "ActiveEnterTimestampMonotonic")
RESTARTS_MAX = 2
HEALTH_TIMEOUT_S = 2.0
STEP_S = 0.1
LOG_LINES = 8


def health(url: str) -> int:
    """Return the status of /health; 0 where nothing listens."""
    return Server(url, timeout_s=HEALTH_TIMEOUT_S).health()


def row(unit: str, problem: str = "") -> dict[str, Any]:
    """Describe a unit; with its log where something is wrong."""
    shown = systemd.peek(unit, PROPERTIES)
    entered_s = int(shown.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
    now_s = time.clock_gettime(time.CLOCK_MONOTONIC)
    return {
        "problem": problem,
        "log": systemd.journal(unit, LOG_LINES) if problem else "",
        "invocation": shown.get("InvocationID", ""),
        "restarts": int(shown.get("NRestarts") or 0),
        "up_s": round(now_s - entered_s if shown.get("ActiveState") == "active" else 0, 1),
    }


def settle(request: dict[str, Any]) -> dict[str, Any]:
    """Wait until each server is healthy, or systemd gave up on it, or it keeps dying, or time is over."""
    deadline = time.monotonic() + request["limit_s"]
    rows = {}
    for unit, url in request["units"].items():
        problem = None
        while problem is None:
            status = health(url)
            problem = "" if status == OK else why_not_healthy(unit)
            if problem is None and time.monotonic() > deadline:
                problem = "/health is %s after %d s" % (status or "silent", request["limit_s"])
            if problem is None:
                time.sleep(0.3)
        rows[unit] = row(unit, problem)
    return rows


def why_not_healthy(unit: str) -> str | None:
    """Say why it is useless to wait for a server; None while it may still come up."""
    shown = systemd.peek(unit, PROPERTIES)
    restarts = int(shown.get("NRestarts") or 0)
    if shown.get("ActiveState") == "failed" or restarts >= RESTARTS_MAX:
        return "does not stay up (%s, started %d times)" % (shown.get("Result"), restarts + 1)
    return "is not running" if shown.get("ActiveState") == "inactive" else None


def watch(request: dict[str, Any]) -> dict[str, Any]:
    """Wait until each server has run for a while without a restart; `since` names the runs that count."""
    return {
        unit: stay(unit, url, request["since"][unit], request["up_s"])
        for unit, url in request["units"].items()
    }


def stay(unit: str, url: str, invocation: str, up_s: float) -> dict[str, Any]:
    """Wait until one server has run for a while in the given invocation."""
    while True:
        found = row(unit)
        if found["invocation"] != invocation or found["restarts"] > 0:
            return row(unit, "did not stay up: it was started anew")
        if health(url) != OK and health(url) != OK:
            return row(unit, "runs but does not answer any more")
        if found["up_s"] >= up_s:
            return found
        time.sleep(min(2.0, max(0.2, up_s - found["up_s"])))


def downtime(request: dict[str, Any]) -> dict[str, float]:
    """Count the time without a healthy answer, from before the switch until the trial is over."""
    urls, deadline = list(request["units"].values()), time.monotonic() + request["limit_s"]
    begun, down_s, longest_s, run_s = False, 0.0, 0.0, 0.0
    well_since, last = None, time.monotonic()
    while time.monotonic() < deadline:
        time.sleep(STEP_S)
        well = all(health(url) == OK for url in urls)
        now = time.monotonic()
        if not well:
            down_s += now - last
            run_s += now - last
            longest_s = max(longest_s, run_s)
            well_since = None
        else:
            run_s = 0.0
            well_since = well_since or now
        last = now
        begun = begun or os.path.exists(ACTIVATION)
        over = begun and not os.path.exists(ACTIVATION)
        if over and (not os.path.lexists(BUILDS + "/current") or (well_since and now - well_since > 1)):
            break
    return {"downtime_s": round(down_s, 2), "longest_s": round(longest_s, 2)}


def variables(unit: str) -> list[str]:
    """Name the variables that a unit has for options which releases spell differently."""
    return re.findall(
        r"\b(STRIXFLEET_OPTION_[A-Z0-9_]+)=", systemd.peek(unit, ["Environment"]).get("Environment", "")
    )


def options(request: dict[str, Any]) -> dict[str, Any]:
    """Return what a staged build says of its options, and the variables of the units that it is to serve."""
    done = confined.help_of(os.path.join(BUILDS, request["build"], "bin", "llama-server"))
    problem = done.err if done.code == command.NOT_RUN else ""
    return {
        "help": done.out,
        "problem": problem,
        "variables": {unit: variables(unit) for unit in request["units"]},
    }


OPERATIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "settle": settle,
    "watch": watch,
    "downtime": downtime,
    "options": options,
}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do one operation."""
    return OPERATIONS[request["do"]](request)
