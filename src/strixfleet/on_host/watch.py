"""
Watch servers on this host during an upgrade: are they up, do they stay up, how long did callers wait.

Runs on the managed host as `python3 -I -c …`: standard library of Python 3.9 or newer, and nothing of ours.
Writes nothing. Waiting is done here, so that no connection is needed for it.
"""

import http.client
import json
import os
import re
import subprocess
import time
import urllib.parse


SENTINEL = "strixfleet-bench:"
BUILDS = "/opt/strixfleet/llama.cpp"
ACTIVATION = "/var/lib/strixfleet/activation.json"
PROPERTIES = "ActiveState,SubState,Result,NRestarts,InvocationID,MainPID,ActiveEnterTimestampMonotonic"
RESTARTS_MAX = 2
OK = 200
STEP_S = 0.1
LINES = 8


def health(url):
    """Return the status of /health; 0 when nothing listens."""
    parts = urllib.parse.urlsplit(url)
    line = http.client.HTTPConnection(parts.hostname, parts.port, timeout=2)
    try:
        line.request("GET", "/health")
        return line.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        line.close()


def show(unit):
    """Ask systemd about a unit."""
    argv = ["systemctl", "show", "--property=" + PROPERTIES, "--", unit]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20, check=False)
    return dict(row.partition("=")[::2] for row in done.stdout.decode("utf-8", "replace").splitlines())


def log(unit):
    """Return the last lines of a unit's journal."""
    argv = ["journalctl", "--unit", unit, "--lines", str(LINES), "--no-pager", "--output", "cat"]
    try:
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace").strip()


def row(unit, problem=""):
    """Describe a unit; with its log where something is wrong."""
    shown = show(unit)
    entered = int(shown.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
    up_s = time.clock_gettime(time.CLOCK_MONOTONIC) - entered if shown.get("ActiveState") == "active" else 0
    return {
        "problem": problem,
        "log": log(unit) if problem else "",
        "invocation": shown.get("InvocationID", ""),
        "restarts": int(shown.get("NRestarts") or 0),
        "up_s": round(up_s, 1),
    }


def settle(request):
    """Wait until each server is healthy, or systemd gave up on it, or it keeps dying, or time is over."""
    rows = {}
    deadline = time.monotonic() + request["limit_s"]
    for unit, url in request["units"].items():
        problem = None
        while problem is None:
            status = health(url)
            if status == OK:
                problem = ""
                break
            shown = show(unit)
            if shown.get("ActiveState") == "failed" or int(shown.get("NRestarts") or 0) >= RESTARTS_MAX:
                problem = "does not stay up (%s, started %d times)" % (
                    shown.get("Result"),
                    int(shown.get("NRestarts") or 0) + 1,
                )
            elif shown.get("ActiveState") == "inactive":
                problem = "is not running"
            elif time.monotonic() > deadline:
                problem = "/health is %s after %d s" % (status or "silent", request["limit_s"])
            else:
                time.sleep(0.3)
        rows[unit] = row(unit, problem)
    return rows


def watch(request):
    """Wait until each server has run for a while without a restart; `since` names the runs that count."""
    rows = {}
    for unit, url in request["units"].items():
        while True:
            found = row(unit)
            if found["invocation"] != request["since"][unit] or found["restarts"] > 0:
                rows[unit] = row(unit, "did not stay up: it was started anew")
            elif health(url) != OK and health(url) != OK:
                rows[unit] = row(unit, "runs, but answers no more")
            elif found["up_s"] < request["up_s"]:
                time.sleep(min(2.0, max(0.2, request["up_s"] - found["up_s"])))
                continue
            else:
                rows[unit] = found
            break
    return rows


def downtime(request):
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


def variables(unit):
    """Name the variables that a unit has for options which releases spell differently."""
    argv = ["systemctl", "show", "--property=Environment", "--value", "--", unit]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20, check=False)
    return re.findall(r"\b(STRIXFLEET_OPTION_[A-Z0-9_]+)=", done.stdout.decode("utf-8", "replace"))


def options(request):
    """Return what a staged build says of its options, and the variables of the units that it is to serve."""
    named = {unit: variables(unit) for unit in request["units"]}
    program = os.path.join(BUILDS, request["build"], "bin", "llama-server")
    try:
        done = subprocess.run(
            [program, "--help"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
            user="nobody" if os.geteuid() == 0 else None,
            group="nogroup" if os.geteuid() == 0 else None,
            extra_groups=[] if os.geteuid() == 0 else None,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        return {"help": "", "problem": str(problem), "variables": named}
    text = done.stdout.decode("utf-8", "replace")[-200000:]
    return {"help": text, "problem": "", "variables": named}


OPERATIONS = {"settle": settle, "watch": watch, "downtime": downtime, "options": options}


def main(request):
    """Print the answer on one line after the sentinel, so that a chatty login shell cannot corrupt it."""
    try:
        answer = {"answer": OPERATIONS[request["do"]](request)}
    except Exception as problem:
        answer = {"error": "%s: %s" % (type(problem).__name__, problem)}
    print(SENTINEL + json.dumps(answer))
