"""Start and stop one host; its processes are found in /proc, not by recorded process ids."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from strixfleet.errors import SandboxError
from strixfleet.printable import without_controls
from strixfleet.sandbox import image_packages
from strixfleet.sandbox.boxes import CCACHE_IN_GUEST, Sandbox, SandboxHost
from strixfleet.sandbox.sandbox_state import cache_dir, write_atomically
from strixfleet.sandbox.supervisor import CGROUP_ROOTS, NSPAWN_RUNTIME


BOOT_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 60.0
POLL_S = 0.1
LOOK_S = 1.0  # between searches for a host's processes, which read all of /proc
SSH_PORT = 22
SUPERVISOR = "strixfleet.sandbox.supervisor"


def start(sandbox: Sandbox, host: SandboxHost, lower: list[Path]) -> None:
    """Boot a host with its own layers over `lower`, in a process that outlives this one."""
    for folder in ("upper", "work", "root"):
        (host.folder / folder).mkdir(exist_ok=True)
    (host.folder / "upper").chmod(0o755)
    ccache = cache_dir() / "ccache"
    prepare_ccache(ccache)
    binds = {
        str(image_packages.offer(host.label)): "/var/cache/apt/archives",
        str(ccache): CCACHE_IN_GUEST,
    }
    record = {
        "machine": host.label,
        "bridge": sandbox.bridge,
        "lower": [str(host.folder / "seed"), *map(str, lower)],
        "binds": binds,
    }
    write_atomically(host.folder / "launch.json", json.dumps(record, indent=1))
    _launch(host)


def lower_of(host: SandboxHost) -> list[Path]:
    """Return the layers below a host's own layers at its last start."""
    launch = json.loads((host.folder / "launch.json").read_text(encoding="utf-8"))
    return [Path(folder) for folder in launch["lower"][1:]]


def _launch(host: SandboxHost) -> None:
    python = [sys.executable, "-m", SUPERVISOR, str(host.folder)]
    argv = ["unshare", "--mount", "--propagation", "private", *python]
    if Path("/run/systemd/system").is_dir():
        # The time makes the name unique: the unit of the last start may exist a moment longer.
        unit = f"--unit=strixfleet-{host.label}-{time.monotonic_ns()}"
        argv = ["systemd-run", "--scope", "--quiet", "--collect", unit, "--property=Delegate=yes", *argv]
    package_root = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {"PYTHONPATH": package_root, "PYTHONDONTWRITEBYTECODE": "1"}
    with (host.folder / "console.log").open("ab") as log:
        subprocess.run(
            ["setsid", "--fork", *argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            check=True,
        )


def prepare_ccache(folder: Path) -> None:
    """Create the compiler cache that all hosts share, writable for every user."""
    if not folder.is_dir():
        folder.mkdir(parents=True)
        (folder / "ccache.conf").write_text("max_size = 5G\numask = 000\n", encoding="ascii")
        folder.chmod(0o777)


def wait_for_ssh(host: SandboxHost, timeout_s: float = BOOT_TIMEOUT_S) -> None:
    """Wait until sshd answers; if the host ended, raise SandboxError with its last output."""
    deadline = time.monotonic() + timeout_s
    looked = time.monotonic()
    while time.monotonic() < deadline:
        if _ssh_answers(host.address):
            return
        if time.monotonic() - looked > LOOK_S:
            looked = time.monotonic()
            if not processes_of(host.folder):
                break
        time.sleep(POLL_S)
    raise SandboxError(f"did not start: {last_output(host)}", where=host.name)


def last_output(host: SandboxHost) -> str:
    """Return the end of the output of a host and its supervisor."""
    log = host.folder / "console.log"
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    return without_controls(" / ".join(line.strip() for line in lines if line.strip())[-300:])


def _ssh_answers(address: str) -> bool:
    try:
        with socket.create_connection((address, SSH_PORT), timeout=1.0) as connection:
            connection.settimeout(2.0)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def processes_of(folder: Path) -> list[int]:
    """
    List the processes of a host: those that have its overlay mounted, and its supervisor.

    Guests outlive a killed nspawn, and recorded process ids may be reused; mount tables are reliable.
    """
    overlay = f"upperdir={folder / 'upper'},".replace(" ", "\\040").encode()
    supervisor = b"\0".join([b"-m", SUPERVISOR.encode(), os.fsencode(folder), b""])
    own = {os.getpid(), os.getppid()}
    return [pid for pid in _pids() if pid not in own and _belongs(pid, overlay, supervisor)]


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _belongs(pid: int, overlay: bytes, supervisor: bytes) -> bool:
    process = Path("/proc", str(pid))
    try:
        return (process / "cmdline").read_bytes().endswith(supervisor) or overlay in (
            process / "mountinfo"
        ).read_bytes()
    except OSError:
        return False


def kill(host: SandboxHost) -> None:
    """Stop a host at once, as a power cut does, and release what it used on this machine."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while pids := processes_of(host.folder):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            raise SandboxError(f"processes {pids} cannot be stopped", where=host.name)
        time.sleep(POLL_S)
    _remove_cgroups(host.label, deadline)
    image_packages.collect(host.label)


def power_off(host: SandboxHost) -> None:
    """Shut a host down, so that its files are complete."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    supervisor = b"\0".join([b"-m", SUPERVISOR.encode(), os.fsencode(host.folder), b""])
    for pid in _pids():
        if _belongs(pid, b"\0no overlay", supervisor):
            os.kill(pid, signal.SIGTERM)
    while processes_of(host.folder) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    kill(host)


def _remove_cgroups(machine: str, deadline: float) -> None:
    """Remove the host's cgroups; a cgroup is busy until its last process has ended."""
    for root in CGROUP_ROOTS:
        own = root / f"strixfleet-{machine}"
        folders = (
            sorted((path for path in own.rglob("*") if path.is_dir()), reverse=True) if own.is_dir() else []
        )
        for folder in [*folders, own]:
            while folder.is_dir():
                try:
                    folder.rmdir()
                except OSError:
                    if time.monotonic() > deadline:
                        raise SandboxError(f"{folder} is still in use", where=machine) from None
                    time.sleep(POLL_S)


def remove_runtime_folder() -> None:
    """Remove nspawn's runtime folder if it is empty; nspawn creates it on demand."""
    with contextlib.suppress(OSError):
        NSPAWN_RUNTIME.rmdir()
        NSPAWN_RUNTIME.parent.rmdir()


def wipe(host: SandboxHost) -> None:
    """Delete everything that a stopped host wrote."""
    for folder in ("upper", "work"):
        shutil.rmtree(host.folder / folder, ignore_errors=True)
