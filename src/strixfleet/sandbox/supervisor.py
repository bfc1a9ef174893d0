"""
Keep one sandbox host running: `python -m strixfleet.sandbox.supervisor FOLDER`.

With --keep-unit, systemd-nspawn ends with status 133 when the guest reboots. This program starts it again,
and ends when the guest powers off. The overlay and nspawn's runtime folder are mounted only in the namespace
of this process, so they disappear with it.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType


REBOOT = 133  # systemd-nspawn's exit status for a guest that rebooted
NSPAWN_RUNTIME = Path("/run/systemd/nspawn")
# cgroup version 1, hybrid mode, and version 2
CGROUP_ROOTS = (Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))


def main(folder: Path) -> int:
    """Mount, boot, and boot again after each reboot of the guest; return nspawn's last exit status."""
    launch = json.loads((folder / "launch.json").read_text(encoding="utf-8"))
    _join_cgroup(launch["machine"])
    _mount(folder, launch["lower"])
    while True:
        guest = subprocess.Popen(nspawn_argv(folder, launch), stdin=subprocess.DEVNULL)
        _forward_termination(guest)
        if (status := guest.wait()) != REBOOT:
            return status


def nspawn_argv(folder: Path, launch: dict[str, object]) -> list[str]:
    """Return the command that boots the host and connects it to the bridge."""
    binds = launch["binds"]
    assert isinstance(binds, dict)  # noqa: S101 - written by launch_record
    return [
        *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--settings=no"),
        *(f"--machine={launch['machine']}", f"--directory={folder / 'root'}"),
        *(f"--network-bridge={launch['bridge']}", "--resolv-conf=off", "--timezone=off", "--link-journal=no"),
        *(f"--bind={outside}:{inside}" for outside, inside in binds.items()),
    ]


def _mount(folder: Path, lower: list[str]) -> None:
    NSPAWN_RUNTIME.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "tmpfs", str(NSPAWN_RUNTIME))
    options = f"lowerdir={':'.join(lower)},upperdir={folder / 'upper'},workdir={folder / 'work'}"
    _run("mount", "-t", "overlay", "overlay", "-o", options, str(folder / "root"))


def _join_cgroup(machine: str) -> None:
    """Move into a separate cgroup, because two guests in one cgroup would stop each other's services."""
    if Path("/run/systemd/system").is_dir():
        return  # started by systemd-run, in a separate scope
    for root in CGROUP_ROOTS:
        if (root / "cgroup.procs").exists():
            own = root / f"strixfleet-{machine}"
            own.mkdir(exist_ok=True)
            (own / "cgroup.procs").write_text(f"{os.getpid()}\n", encoding="ascii")


def _forward_termination(guest: subprocess.Popen[bytes]) -> None:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        guest.send_signal(signal.SIGTERM)  # nspawn asks the guest to power off

    signal.signal(signal.SIGTERM, stop)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
