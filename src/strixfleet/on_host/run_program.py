"""
Run a program of this host's current build, confined like its server, and keep what was measured.

The request is {"do": name, …}. The only files that it writes are the host's own measurements in STATE.
"""

from __future__ import annotations

import base64
import json
import os
import stat
import time
import zlib
from typing import Any, Callable

from . import command, confined, cpu_time, files
from .confinement import Allowed


STATE = "/var/lib/strixfleet"
CURRENT = "/opt/strixfleet/llama.cpp/current"
STDERR_LIMIT = 4000
MEASUREMENT_FILES = frozenset({"last-good.json", "bandwidth.json"})


def header(request: dict[str, Any]) -> dict[str, str]:
    """Return the first bytes of a file, packed; O_NONBLOCK, because a FIFO would wait for a writer."""
    with os.fdopen(os.open(request["path"], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("%s is not a plain file" % request["path"])
        return {"packed": base64.b64encode(zlib.compress(file.read(request["count"]), 1)).decode()}


def program(request: dict[str, Any]) -> dict[str, Any]:
    """Run a program of the current build and return what it printed, and what others took of the CPU."""
    started, cpu = time.monotonic(), cpu_time.now()
    words = [os.path.join(CURRENT, "bin", request["program"]), *request["arguments"]]
    done, cpu_s = confined.run(words, request["timeout_s"], Allowed.of(request))
    row: dict[str, Any] = {"exit_code": done.code, "stdout": done.out, "stderr": done.err[-STDERR_LIMIT:]}
    if done.code == command.NOT_RUN:
        return row
    row["seconds"] = round(time.monotonic() - started, 3)
    row["others_share"] = cpu_time.busy_share(cpu, cpu_time.now(), cpu_s * cpu_time.JIFFIES_PER_S)
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
