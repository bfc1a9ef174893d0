"""The outside oracle: what is on a host and which runs of its units, without asking any module of ours."""

import json
import re
import subprocess
import time
from typing import Any

from strixfleet.sandbox.boxes import Sandbox


# Left out, each with its reason: what programs rewrite on their own, and records of runs.
ALLOWED = (
    "/etc/ld.so.cache",  # ldconfig's
    "/etc/machine-id",
    "/etc/resolv.conf",
    "/etc/mtab",
    "/etc/group-",  # shadow's copies of what was before the last edit
    "/etc/gshadow-",
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/modprobe.d/tuned.conf",  # tuned's own
    "/var/lib/strixfleet/source",  # git's index holds times
    "/var/lib/strixfleet/bandwidth.json",  # a measurement
    "/var/lib/strixfleet/last-good.json",  # a measurement
    "/var/lib/strixfleet/.cache",
    "/var/lib/strixfleet/lock.json",  # who held the fleet's lock last
    "/etc/strixfleet/applied.json",  # says when; it changes only where what was applied does
    "/etc/tuned/bootcmdline",  # tuned's own
)
PROGRAM = """
import hashlib, json, os, stat, subprocess, sys
folders, allowed, ignored_times = json.loads(sys.argv[1])
rows = {}
def row(path):
    status = os.lstat(path)
    kind = stat.S_IFMT(status.st_mode)
    value = [oct(status.st_mode), status.st_uid, status.st_gid]
    value.append(sorted((name, os.getxattr(path, name, follow_symlinks=False).hex())
                        for name in os.listxattr(path, follow_symlinks=False)))
    if stat.S_ISLNK(status.st_mode):
        value.append(os.readlink(path))
    elif stat.S_ISREG(status.st_mode):
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
        value.append(digest.hexdigest())
    return value
for folder in folders:
    for parent, names, files in os.walk(folder):
        names[:] = [n for n in names if os.path.join(parent, n) not in allowed]
        for name in names + files:
            path = os.path.join(parent, name)
            if path not in allowed:
                rows[path] = row(path)
units = subprocess.run(
    ["systemctl", "list-units", "--all", "--plain", "--no-legend", "--type=service,timer",
     "llama-server@*", "strixfleet*", "tuned.service", "tailscaled.service", "ssh.service"],
    stdout=subprocess.PIPE, text=True, check=True).stdout.split("\\n")
for unit in [line.split()[0] for line in units if line.strip()]:
    if unit == "strixfleet-revert.service":
        continue  # runs every few seconds, by its timer
    properties = "InvocationID,ActiveState,UnitFileState,NRestarts"
    argv = ["systemctl", "show", "-p", properties, unit]
    shown = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout
    rows["unit:" + unit] = sorted(shown.split())
rows["boot_id"] = open("/proc/sys/kernel/random/boot_id").read().strip()
print(json.dumps(rows))
"""
MOMENTS = re.compile(r"unit:|boot_id|/var/lib/strixfleet/models/[^/]+/\.[^/]+\.json$")
FOLDERS = ("/etc", "/opt", "/var/lib/strixfleet", "/usr/local", "/boot", "/var/spool/cron")


def ssh(sandbox: Sandbox, host: str, *argv: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a command on a host, as its unprivileged user."""
    import shlex

    return subprocess.run(
        ["ssh", "-F", str(sandbox.ssh_config), host, shlex.join(argv)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def root(sandbox: Sandbox, host: str, script: str, timeout_s: float = 120) -> str:
    """Run a shell line as root and give its output; the test fails where the line does."""
    done = ssh(sandbox, host, "sudo", "-n", "sh", "-c", script, timeout_s=timeout_s)
    assert done.returncode == 0, f"{script}: {done.stderr or done.stdout}"
    return done.stdout


def reboot(sandbox: Sandbox, host: str, within_s: float = 120) -> None:
    """Reboot a host as its user would, and wait until another boot has finished."""
    look = "cat /proc/sys/kernel/random/boot_id"
    before = root(sandbox, host, look)
    ssh(sandbox, host, "sudo", "-n", "systemctl", "reboot")
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        seen = ssh(sandbox, host, "sudo", "-n", "sh", "-c", f"{look}; systemctl is-system-running --wait")
        if (
            seen.stdout
            and seen.stdout.splitlines()[0] != before.strip()
            and len(seen.stdout.splitlines()) > 1
        ):
            return
        time.sleep(0.5)
    raise AssertionError(f"{host} did not come back within {within_s:.0f} s")


def picture(sandbox: Sandbox, host: str, *, moments: bool = True) -> dict[str, Any]:
    """
    Return {path or unit: what it is} of everything that a provision might touch.

    Without `moments`, what is different in any two hosts is left out: boot ids, runs of units, and the stamps
    that hold a model file's inode and time.
    """
    request = json.dumps([FOLDERS, ALLOWED, []])
    done = ssh(sandbox, host, "sudo", "-n", "python3", "-c", PROGRAM, request, timeout_s=300)
    assert done.returncode == 0, done.stderr
    rows: dict[str, Any] = json.loads(done.stdout)
    if moments:
        return rows
    return {key: value for key, value in rows.items() if not MOMENTS.match(key)}


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Name what two pictures do not share."""
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
