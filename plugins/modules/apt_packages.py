#!/usr/bin/python
"""Install Debian packages that are missing, older than a floor, or known to be bad."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule


DOCUMENTATION = """
module: apt_packages
short_description: Install packages that are missing, too old or known to be bad
description:
  - Asks dpkg what is installed. Where nothing has to be installed, apt is not run and no network is used.
  - Otherwise updates apt's lists, installs from the release named, and fails unless the floor is reached.
  - Completes what an interrupted dpkg left first, as after a power cut.
  - In check mode it reports what it would install.
  - Where another apt or dpkg is at work it fails with C(locked); its action plugin says so and tries again.
author: The strixfleet developers
options:
  packages:
    description: The packages.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the package.
        type: str
        required: true
      floor:
        description: Oldest version accepted.
        type: str
      known_bad:
        description: Versions never accepted, as prefixes; 20251125 stands for 20251125-1 and the like.
        type: list
        elements: str
        default: []
      release:
        description: What C(apt-get -t) takes, such as C(trixie-backports).
        type: str
      newest:
        description: Install the newest version whatever is installed.
        type: bool
        default: false
  hint:
    description: What to do when apt has no such package; added to the error message.
    type: str
    default: ""
  lock_timeout_s:
    description: Seconds to wait for another apt or dpkg before its name is returned.
    type: int
    default: 10
"""

EXAMPLES = """
- name: Install firmware from backports
  strixfleet.fleet.apt_packages:
    packages:
      - name: firmware-amd-graphics
        floor: "20260110"
        known_bad: ["20251125"]
        release: trixie-backports
"""

RETURN = """
installed:
  description: The installed version of each package, after the run.
  type: dict
  returned: success
locked:
  description: Who holds apt.
  type: str
  returned: where apt was held for longer than lock_timeout_s
changed_names:
  description: Packages whose version changed, or in check mode would.
  type: list
  elements: str
  returned: success
"""

ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "NEEDRESTART_SUSPEND": "1",
    "LC_ALL": "C.UTF-8",
    "LANG": "C.UTF-8",
}
PENDING = "/var/lib/dpkg/updates"  # what dpkg had not yet written into its status
LOCKS = (
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
)
FLOCK = "hhqqi"  # struct flock: type, whence, start, length, process
COMMAND_CHARS = 80
COMPLETE = {"n", "c", "i"}  # not installed, only configured once, installed: see dpkg-query(1)
HALF_INSTALLED, REINSTALL = "H", "R"
LOCKED = re.compile(r"[Cc]ould not get lock|locked by|[Uu]nable to (acquire|lock)")
LOCK_POLL_S = 2


def versions(module: AnsibleModule, names: list[str]) -> dict[str, str]:
    """Return {package: version} of the packages that are completely installed."""
    argv = ["dpkg-query", "-W", "-f=${Package} ${db:Status-Status} ${Version}\\n", "--", *names]
    _rc, out, _err = module.run_command(argv)
    rows = (line.split() for line in out.splitlines())
    return {row[0]: row[2] for row in rows if len(row) == 3 and row[1] == "installed"}  # noqa: PLR2004


def fault(module: AnsibleModule, wish: dict[str, Any], version: str | None) -> str | None:
    """Say what is wrong with an installed package, or return None."""
    if version is None:
        return "is not installed"
    if any(re.match(rf"{re.escape(bad)}(?![0-9])", version) for bad in wish["known_bad"]):
        return f"is {version}, which is known to be bad"
    if wish["floor"]:
        older = module.run_command(["dpkg", "--compare-versions", version, "lt", wish["floor"]])[0] == 0
        return f"is {version}, older than {wish['floor']}" if older else None
    return None


def last_words(text: str) -> str:
    """Return the lines in which apt says what went wrong, or its last line."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    reasons = [line for line in lines if line.startswith(("E:", "Err:", "dpkg: error"))]
    return " ".join(reasons[-4:] or lines[-1:])


def patiently(module: AnsibleModule, argv: list[str]) -> tuple[int, str, str]:
    """
    Run a program again while another apt or dpkg holds a lock; fail with its name where that goes on.

    DPkg::Lock::Timeout waits for dpkg's lock only, not for that of the package lists, which apt-daily takes.
    """
    deadline = time.monotonic() + module.params["lock_timeout_s"]
    while True:
        rc, out, err = module.run_command(argv)
        if rc == 0 or not LOCKED.search(err):
            return rc, out, err
        if time.monotonic() > deadline:
            module.fail_json(msg=f"apt is locked: {last_words(err)}", locked=holder())
        time.sleep(LOCK_POLL_S)


def holder(locks: tuple[str, ...] = LOCKS) -> str:
    """Name the process that holds a lock of apt or dpkg."""
    for path in locks:
        with contextlib.suppress(OSError), open(path, "rb") as file:
            asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, *_, pid = struct.unpack(FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))
            if kind != fcntl.F_UNLCK:
                return f"process {pid} ({command_of(pid)})"
    return "another process"


def command_of(pid: int) -> str:
    """Return the beginning of a process's command line."""
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            words = file.read().replace("\0", " ").strip()
    except OSError:  # in another container
        return "not to be seen from here"
    return "".join(one if one.isprintable() else " " for one in words)[:COMMAND_CHARS]


def unfinished(module: AnsibleModule) -> dict[str, str]:
    """Return {package: status} of what an interrupted dpkg left half way."""
    _rc, out, _err = module.run_command(["dpkg-query", "-W", "-f=${db:Status-Abbrev} ${binary:Package}\\n"])
    found = {}
    for line in out.splitlines():
        status, package = line[:3], line[3:].strip()
        if status[1] not in COMPLETE or status[2] == REINSTALL:
            found[package] = status
    return found


def has_pending() -> bool:
    """Tell whether apt would refuse to work because dpkg was interrupted."""
    return os.path.isdir(PENDING) and any(name.isdigit() for name in os.listdir(PENDING))


def configure(module: AnsibleModule) -> None:
    """Configure what was unpacked; without it apt refuses to work. What was cut earlier is still to do."""
    patiently(module, ["dpkg", "--configure", "-a", "--force-confdef", "--force-confold"])


def complete(module: AnsibleModule) -> None:
    """Unpack again what was cut in the middle of that; --fix-broken alone tries to configure it as it is."""
    if not (left := unfinished(module)):
        return
    torn = [name for name, status in left.items() if status[1] == HALF_INSTALLED or status[2] == REINSTALL]
    apt_get(module, "--fix-broken", "--reinstall", "install", "--", *torn)
    if left := unfinished(module):
        hint = "look at `dpkg --audit` on the host, then install or remove it by hand"
        module.fail_json(msg=f"dpkg was interrupted, and {', '.join(left)} cannot be completed; hint: {hint}")


def apt_get(module: AnsibleModule, *arguments: str, after: str = "") -> str:
    """Run apt-get and return its warnings; fail with its reason and the warnings in `after`."""
    options = [
        "-oDPkg::Lock::Timeout=0",
        "-oDpkg::Options::=--force-confdef",
        "-oDpkg::Options::=--force-confold",
        "-oAPT::Get::Assume-Yes=true",
        "-oAPT::Install-Recommends=false",
        "-oAcquire::Retries=3",
    ]
    rc, out, err = patiently(module, ["apt-get", *options, *arguments])
    warnings = " ".join(line for line in err.splitlines() if line.startswith("W:"))
    if rc != 0:
        hint = f"; hint: {module.params['hint']}" if module.params["hint"] else ""
        reason = f"{last_words(err or out)} {after}".strip()
        module.fail_json(msg=f"apt-get {arguments[0]} failed: {reason}{hint}")
    return warnings


def install(module: AnsibleModule, wishes: list[dict[str, Any]]) -> None:
    """Install each release's packages together."""
    cut = bool(unfinished(module)) or has_pending()
    if cut:
        configure(module)
    # Some other source may be down: what counts is whether these packages can be installed.
    warnings = apt_get(module, "update")
    if cut:
        complete(module)
    for release in sorted({wish["release"] or "" for wish in wishes}):
        names = [wish["name"] for wish in wishes if (wish["release"] or "") == release]
        target = ["-t", release] if release else []
        apt_get(module, "install", *target, "--allow-change-held-packages", "--", *names, after=warnings)


def main() -> None:
    suboptions = {
        "name": {"type": "str", "required": True},
        "floor": {"type": "str"},
        "known_bad": {"type": "list", "elements": "str", "default": []},
        "release": {"type": "str"},
        "newest": {"type": "bool", "default": False},
    }
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "dict", "required": True, "options": suboptions},
            "hint": {"type": "str", "default": ""},
            "lock_timeout_s": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = ENVIRONMENT
    wishes = module.params["packages"]
    names = [wish["name"] for wish in wishes]
    before = versions(module, names) if names else {}
    due = [wish for wish in wishes if wish["newest"] or fault(module, wish, before.get(wish["name"]))]
    if not due:
        module.exit_json(changed=False, installed=before)
    if module.check_mode:
        expected = {**before, **{wish["name"]: "(newest)" for wish in due}}
        module.exit_json(
            changed=True,
            installed=before,
            changed_names=differing(before, expected),
            diff=diff(before, expected),
        )
    install(module, due)
    after = versions(module, names)
    for wish in wishes:
        if reason := fault(module, wish, after.get(wish["name"])):
            source = f" from {wish['release']}" if wish["release"] else ""
            module.fail_json(msg=f"{wish['name']}{source} {reason}, and apt offers no better version")
    names = differing(before, after)
    module.exit_json(changed=bool(names), installed=after, changed_names=names, diff=diff(before, after))


def differing(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Name the packages whose version is another one."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def diff(before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    show = ["".join(f"{name} {rows[name]}\n" for name in sorted(rows)) for rows in (before, after)]
    return {"before": show[0], "after": show[1]}


if __name__ == "__main__":
    main()
