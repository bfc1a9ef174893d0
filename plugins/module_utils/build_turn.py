"""One build at a time on a host; what fails leaves nothing but its log."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ansible_collections.strixfleet.fleet.plugins.module_utils.build_process import BuildError, Workshop
from ansible_collections.strixfleet.fleet.plugins.module_utils.build_publish import intact
from ansible_collections.strixfleet.fleet.plugins.module_utils.build_source import BUILDS


if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

STATE = "/var/lib/strixfleet"
FOR_READERS = ("progress", "log")
WAIT_S = 7200

Make = Callable[[Workshop, dict[str, Any]], dict[str, Any]]
HandOn = Callable[[dict[str, Any]], dict[str, Any]]


def nothing(_wanted: dict[str, Any]) -> dict[str, Any]:
    """Hand nothing on."""
    return {}


def bring_about(module: AnsibleModule, make: Make, hand_on: HandOn = nothing) -> None:
    """
    Let `make` publish a build, unless it is there and intact; this ends the module.

    `hand_on` returns what else is told of it, also where another run has made it meanwhile.
    """
    wanted = module.params
    final = os.path.join(BUILDS, wanted["id"])
    diff = {"before": "", "after": f"{final}\n"}
    if module.check_mode:
        module.exit_json(**({"changed": False} if intact(final) else {"changed": True, "diff": diff}))
    os.umask(0o022)
    try:
        result = make_in_turn(wanted, final, make)
        more = hand_on(wanted)
    except BuildError as error:
        log = os.path.join(STATE, "build", wanted["id"], "log")
        module.fail_json(msg=f"{error} (log on the host: {log})")
    except OSError as error:
        module.fail_json(msg=f"{error.filename or final}: {error.strerror}; hint: is the disk full?")
    if result is None:
        module.exit_json(changed=False, present=True, **more)
    module.exit_json(changed=True, present=True, diff=diff, **result, **more)


def make_in_turn(wanted: dict[str, Any], final: str, make: Make) -> dict[str, Any] | None:
    """Return what `make` tells; None where the build is there."""
    if intact(final):
        return None
    lock = take_turn(WAIT_S)
    try:
        if intact(final):
            return None
        try:
            result = make(workshop(wanted["id"]), wanted)
        except (BuildError, OSError):
            clear(wanted["id"])
            raise
        shutil.rmtree(os.path.join(STATE, "build", wanted["id"]))
        return result
    finally:
        os.close(lock)


def take_turn(wait_s: int) -> int:
    """Wait for other builds on this host; the lock goes with the process."""
    os.makedirs(os.path.join(STATE, "build"), mode=0o755, exist_ok=True)
    lock = os.open(os.path.join(STATE, "build", ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > deadline:
                raise BuildError(f"another build has run for {wait_s} s") from None
            time.sleep(1)
        else:
            return lock


def workshop(build_id: str) -> Workshop:
    """Return an empty workshop; what broken-off builds left is removed."""
    for name in os.listdir(os.path.join(STATE, "build")):
        if name != ".lock":
            shutil.rmtree(os.path.join(STATE, "build", name))
    made = Workshop(os.path.join(STATE, "build", build_id), {})
    for name in FOR_READERS:
        open(os.path.join(made.folder, name), "w", encoding="utf-8").close()
    made.environment["TMPDIR"] = made.own_folder("tmp")  # /tmp is memory on Debian 13
    return made


def empty_partial(build_id: str) -> str:
    """Make the folder in which a build is put together before it gets its name."""
    partial = os.path.join(BUILDS, f".{build_id}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial, mode=0o755)
    return partial


def clear(build_id: str) -> None:
    """Remove what a failed build left, but for its log; called while the lock is held."""
    for entry in os.scandir(os.path.join(STATE, "build", build_id)):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        elif entry.name not in FOR_READERS:
            os.unlink(entry.path)
    shutil.rmtree(os.path.join(BUILDS, f".{build_id}.partial"), ignore_errors=True)
