# ruff: noqa: PTH101, PTH104, PTH108, PTH112, PTH118, PTH123, PTH208, S103, PLW0108, S606, T201 - goes to the host as text
"""
Stand in for a llama-server that was taken over: try what it must not do, and say how each try ended.

Runs on the sandbox host in the unit of an instance, and once more without any unit, as root, to show that
each act would succeed there. Standard library only. Writes {"argv", "environment", "acts"} as JSON.
"""

import ctypes
import json
import mmap
import os
import signal
import socket
import sys
import time
from collections.abc import Callable


Act = Callable[[], object]
LIBC = ctypes.CDLL(None, use_errno=True)
MODEL = "/var/lib/strixfleet/models/m/m.gguf"
PTRACE_ATTACH, PTRACE_DETACH = 16, 17
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x00020000


def call(name: str, *arguments: object) -> None:
    """Call libc and raise its error."""
    if LIBC[name](*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def write(path: str) -> Act:
    """Change a file, or make one."""

    def act() -> None:
        with open(path, "ab") as file:
            file.write(b"")

    return act


def read(path: str) -> Act:
    """Read a file or list a folder."""

    def act() -> None:
        if os.path.isdir(path):
            os.listdir(path)
        else:
            with open(path, "rb") as file:
                file.read(1)

    return act


def replace_model() -> None:
    """Put another file in the model's place."""
    os.rename(MODEL, MODEL + ".old")
    os.rename(MODEL + ".old", MODEL)


def new_socket(family: int, kind: int, protocol: int = 0) -> Act:
    """Open a socket of a kind."""
    return lambda: socket.socket(family, kind, protocol).close()


def in_child(act: Act) -> Act:
    """Try in a child, which may not come back the same."""

    def run() -> None:
        child = os.fork()
        if child == 0:
            try:
                act()
            except OSError as error:
                os._exit((error.errno or 1) % 256)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if status:
            raise OSError(os.waitstatus_to_exitcode(status), "in a child")

    return run


def attach() -> None:
    """Look into another process of the host."""
    call("ptrace", PTRACE_ATTACH, int(os.environ["VICTIM"]), 0, 0)
    os.waitpid(int(os.environ["VICTIM"]), 0x40000000)
    call("ptrace", PTRACE_DETACH, int(os.environ["VICTIM"]), 0, 0)


def look_into_sibling(part: str) -> Act:
    """Read what belongs to another instance's process."""

    def act() -> None:
        pid = os.environ["SIBLING"]
        with open(f"/proc/{pid}/maps") as maps:
            start = int(maps.readline().split("-")[0], 16)
        with open(f"/proc/{pid}/{part}", "rb") as file:
            file.seek(start if part == "mem" else 0)
            file.read(16)

    return act


def talk_to_ssh() -> None:
    """Reach a service of the host."""
    socket.create_connection(("127.0.0.1", 22), 5).close()


def see_others() -> None:
    """See processes of other accounts."""
    if os.environ["VICTIM"] not in os.listdir("/proc"):
        raise PermissionError(1, "not seen")


def writable_code() -> None:
    """Map memory that can be written and run."""
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def set_user_id_file() -> None:
    """Make a program that runs as its owner."""
    path = os.path.join(os.environ.get("CACHE_DIRECTORY", "/root"), "suid")
    with open(path, "wb"):
        os.chmod(path, 0o4755)
    os.unlink(path)


def real_time() -> None:
    """Take a processor for itself."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def mount() -> None:
    """Mount a file system over the models."""
    call("mount", b"none", b"/mnt", b"tmpfs", 0, None)
    call("umount2", b"/mnt", 0)


ACTS = {
    "write the model": write(MODEL),
    "replace the model": replace_model,
    "write its stamp": write("/var/lib/strixfleet/models/m/.m.gguf.json"),
    "write its own program": write("/opt/strixfleet/llama.cpp/one/bin/llama-server"),
    "add a build": write("/opt/strixfleet/llama.cpp/new"),
    "write its unit": write("/etc/systemd/system/llama-server@chat.service.d/10-strixfleet.conf"),
    "add a unit": write("/etc/systemd/system/other.service"),
    "write into /etc": write("/etc/strixfleet/x"),
    "write into /var/lib/strixfleet": write("/var/lib/strixfleet/x"),
    "read the keys' folder": read("/etc/strixfleet/keys"),
    "read the other instance's key": read("/etc/strixfleet/keys/other"),
    "read /etc/shadow": read("/etc/shadow"),
    "list /root": read("/root/.ssh"),
    "read a user's files": read("/home/strix/.ssh/authorized_keys"),
    "signal another account's process": lambda: os.kill(int(os.environ["VICTIM"]), signal.SIGCONT),
    "see other processes": see_others,
    "trace a process": attach,
    "read the other instance's memory": look_into_sibling("mem"),
    "read the other instance's environment": look_into_sibling("environ"),
    "signal the other instance": lambda: os.kill(int(os.environ["SIBLING"]), signal.SIGCONT),
    "read the other instance's credential": read("/run/credentials/llama-server@other.service/api-key"),
    "read the other instance's cache": read("/var/cache/strixfleet/servers/other"),
    "mount": mount,
    "make a user namespace": in_child(lambda: call("unshare", CLONE_NEWUSER)),
    "make a mount namespace": in_child(lambda: call("unshare", CLONE_NEWNS)),
    "open a raw socket": new_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "open a packet socket": new_socket(socket.AF_PACKET, socket.SOCK_RAW),
    "open a netlink socket": new_socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "become root": in_child(lambda: os.setuid(0)),
    "change the root": in_child(lambda: os.chroot("/mnt")),
    "take real-time priority": in_child(real_time),
    "make a set-user-id file": set_user_id_file,
    "set the host's name": lambda: socket.sethostname(socket.gethostname()),
    "map writable code": writable_code,
}
NEEDS = {
    "read the model": read(MODEL),
    "read its own key": lambda: read(os.path.join(os.environ["CREDENTIALS_DIRECTORY"], "api-key"))(),
    "write its cache": lambda: write(os.path.join(os.environ["CACHE_DIRECTORY"], "shader"))(),
    "read the memory's size": read("/proc/meminfo"),
    "read sysfs": read("/sys/devices/system/cpu/online"),
    "listen": lambda: socket.create_server(("127.0.0.1", 8080)).close(),
}


def outcome(act: Act) -> str:
    """Say how a try ended."""
    try:
        act()
    except (OSError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    return "done"


def leave_something_behind() -> None:
    """Start a process that wants to outlive the run."""
    if os.fork() == 0:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        os.execvp("sleep", ["sleep", "98765"])


def main() -> None:
    """Try all, write, and stay; or print, and leave something behind."""
    acts = {name: outcome(act) for name, act in ACTS.items()}
    found = {
        "argv": sys.argv[1:],
        "environment": dict(os.environ),
        "acts": acts,
        "needs": {name: outcome(act) for name, act in NEEDS.items()},
    }
    if "GGML_PRINT" in os.environ:
        acts["reach the host's network"] = outcome(talk_to_ssh)
        leave_something_behind()
        print(json.dumps(found), flush=True)
        return
    folder = os.environ.get("CACHE_DIRECTORY", "/root")
    with open(folder + "/result.tmp", "w", encoding="utf-8") as file:
        json.dump(found, file)
    os.rename(folder + "/result.tmp", folder + "/result.json")
    while "CACHE_DIRECTORY" in os.environ:
        time.sleep(60)


main()
