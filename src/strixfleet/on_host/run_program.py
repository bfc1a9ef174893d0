"""
Run a program of this host's current build as its server would, and keep what was measured.

The request is {"do": name, …}. The only files that it writes are the host's own measurements in STATE.
"""

from __future__ import annotations

import base64
import grp
import json
import os
import pwd
import time
import zlib
from typing import Any, Callable

from . import command, cpu_time, files


STATE = "/var/lib/strixfleet"
CURRENT = "/opt/strixfleet/llama.cpp/current"
STDERR_LIMIT = 4000
MEASUREMENT_FILES = frozenset({"last-good.json", "bandwidth.json"})


def header(request: dict[str, Any]) -> dict[str, str]:
    """Return the first bytes of a file, packed."""
    with open(request["path"], "rb") as file:
        return {"packed": base64.b64encode(zlib.compress(file.read(request["count"]), 1)).decode()}


def identity(request: dict[str, Any]) -> tuple[int, int, list[int]] | None:
    """Choose whose rights a measurement runs with: the server's own, or an account without rights."""
    pid = request.get("pid") or 0
    text = files.read_text("/proc/%d/status" % pid) if pid else None
    if text:
        rows = dict(row.split(":", 1) for row in text.splitlines() if ":" in row)
        groups = [int(word) for word in rows["Groups"].split()]
        return int(rows["Uid"].split()[1]), int(rows["Gid"].split()[1]), groups
    if os.geteuid() != 0:
        return None
    for name in request["users"]:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        groups = [one.gr_gid for one in grp.getgrall() if one.gr_name in {"render", "video"}]
        return entry.pw_uid, entry.pw_gid, [*groups, *os.getgrouplist(name, entry.pw_gid)]
    return None


def run_as(request: dict[str, Any], argv: list[str]) -> command.Finished:
    """Run one program like the server: its account, cores, niceness and environment."""
    cores, nice = request.get("cores") or [], request.get("nice") or 0
    who = identity(request)
    options: dict[str, Any] = {}
    if who and os.geteuid() == 0:
        options = {"user": who[0], "group": who[1], "extra_groups": who[2]}

    def settle() -> None:
        if cores:
            os.sched_setaffinity(0, cores)
        if nice > 0:
            os.nice(nice)

    environment = {
        "PATH": command.PATH,
        "LC_ALL": "C",
        "HOME": "/nonexistent",
        **(request.get("environment") or {}),
    }
    return command.attempt(argv, request["timeout_s"], cwd="/", env=environment, preexec_fn=settle, **options)


def program(request: dict[str, Any]) -> dict[str, Any]:
    """Run a program of the current build and return what it printed, and what others took of the CPU."""
    started, cpu, own_jiffies = time.monotonic(), cpu_time.now(), cpu_time.of_children()
    done = run_as(request, [os.path.join(CURRENT, "bin", request["program"]), *request["arguments"]])
    row: dict[str, Any] = {"exit_code": done.code, "stdout": done.out, "stderr": done.err[-STDERR_LIMIT:]}
    if done.code == command.NOT_RUN:
        return row
    own_jiffies = cpu_time.of_children() - own_jiffies
    row["seconds"] = round(time.monotonic() - started, 3)
    row["others_share"] = cpu_time.busy_share(cpu, cpu_time.now(), own_jiffies)
    return row


def keep(request: dict[str, Any]) -> dict[str, Any]:
    """Replace one of the host's own measurement files."""
    name = request["name"]
    if name not in MEASUREMENT_FILES:
        raise ValueError("%r is not a measurement file" % name)
    os.makedirs(STATE, mode=0o755, exist_ok=True)
    text = json.dumps(request["data"], indent=1, sort_keys=True) + "\n"
    draft = os.path.join(STATE, ".%s.%d" % (name, os.getpid()))  # two may be measuring at a time
    files.write(os.path.join(STATE, name), text.encode(), draft=draft)
    return {}


OPERATIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "header": header,
    "program": program,
    "keep": keep,
}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do one operation."""
    return OPERATIONS[request["do"]](request)
