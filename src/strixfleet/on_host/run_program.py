"""
Run a program of this host's current build like its server would, and keep what was measured.

Runs on the managed host as `python3 -I -c …`: standard library of Python 3.9 or newer, and nothing of ours.
It gets one request {"do": name, …} and prints one JSON line after SENTINEL. The only files it writes are the
host's own measurements in STATE.
"""

import base64
import grp
import json
import os
import pwd
import subprocess
import tempfile
import time
import zlib


SENTINEL = "strixfleet-bench:"
STATE = "/var/lib/strixfleet"
CURRENT = "/opt/strixfleet/llama.cpp/current"


def read(path):
    """Read a small text file; None where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return None


def cpu_times():
    """Return busy and total jiffies of all cores."""
    fields = [int(word) for word in (read("/proc/stat") or "cpu 0 0 0 0 0").splitlines()[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


def header(request):
    """Return the first bytes of a file, packed."""
    with open(request["path"], "rb") as file:
        return {"packed": base64.b64encode(zlib.compress(file.read(request["count"]), 1)).decode()}


def identity(request):
    """Settle whose rights a measurement runs with: the server's own, or an account without rights."""
    pid = request.get("pid") or 0
    text = read("/proc/%d/status" % pid) if pid else None
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


def run_as(request, argv, timeout_s):
    """Run one program like the server: its account, cores, niceness and environment."""
    cores, nice, options = request.get("cores") or [], request.get("nice") or 0, {}
    who = identity(request)
    if who and os.geteuid() == 0:
        options = {"user": who[0], "group": who[1], "extra_groups": who[2]}

    def settle():
        if cores:
            os.sched_setaffinity(0, cores)
        if nice > 0:
            os.nice(nice)

    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": "/nonexistent"}
    environment.update(request.get("environment") or {})
    return subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=timeout_s,
        check=False,
        cwd="/",
        env=environment,
        preexec_fn=settle,
        **options,
    )


def measured(done, started):
    """Return what a program printed."""
    return {
        "exit_code": done.returncode,
        "stdout": done.stdout.decode("utf-8", "replace"),
        "stderr": done.stderr.decode("utf-8", "replace")[-4000:],
        "seconds": round(time.monotonic() - started, 3),
    }


def children_s():
    """Return the processor seconds of all children so far."""
    spent = os.times()
    return spent.children_user + spent.children_system


def others_share(before, own_s):
    """Return what share of all cores others took since `before` (steal is theirs, too)."""
    after = cpu_times()
    busy = after[0] - before[0] - own_s * os.sysconf("SC_CLK_TCK")
    return round(max(0.0, busy / max(1, after[1] - before[1])), 3)


def program(request):
    """Run a program of the current build; say what others took of the CPU."""
    started, before, own_s = time.monotonic(), cpu_times(), children_s()
    argv = [os.path.join(CURRENT, "bin", request["program"]), *request["arguments"]]
    try:
        row = measured(run_as(request, argv, request["timeout_s"]), started)
    except subprocess.TimeoutExpired:
        return {"exit_code": -1, "stdout": "", "stderr": "no end within %d s" % request["timeout_s"]}
    except OSError as problem:
        return {"exit_code": -1, "stdout": "", "stderr": "%s: %s" % (argv[0], problem.strerror)}
    row["others_share"] = others_share(before, children_s() - own_s)
    return row


def keep(request):
    """Write one of the host's own measurement files whole or not at all."""
    if request["name"] not in {"last-good.json", "bandwidth.json"}:
        raise ValueError("no measurement file: %r" % request["name"])
    os.makedirs(STATE, mode=0o755, exist_ok=True)
    handle, path = tempfile.mkstemp(dir=STATE, prefix="." + request["name"])
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(request["data"], file, indent=1, sort_keys=True)
        file.write("\n")
        os.fchmod(file.fileno(), 0o644)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path, os.path.join(STATE, request["name"]))
    return {}


OPERATIONS = {"header": header, "program": program, "keep": keep}


def main(request):
    """Print the answer on one line after the sentinel, so that a chatty login shell cannot corrupt it."""
    try:
        answer = {"answer": OPERATIONS[request["do"]](request)}
    except Exception as problem:
        answer = {"error": "%s: %s" % (type(problem).__name__, problem)}
    print(SENTINEL + json.dumps(answer))
