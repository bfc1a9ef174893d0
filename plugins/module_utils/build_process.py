"""Run the tools of a build as an unprivileged user, end them with this process, and report progress."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import threading
from collections import deque
from typing import Any

from ansible_collections.strixfleet.fleet.plugins.module_utils.on_host.plain_text import plain


BUILD_USER = "strixfleet-build"  # compiles
SOURCE_USER = "strixfleet-source"  # runs git, and nothing that a repository holds
PATH = "/opt/rocm/bin:/usr/local/bin:/usr/bin:/bin"
STEP = re.compile(r"^\[(\d+)/(\d+)\]")
KEPT_LINES = 400
LINE_LIMIT_BYTES = 1 << 16
LOG_LIMIT_BYTES = 64 << 20
TOOL_LIMIT_S = 3 * 3600.0


class BuildError(Exception):
    """Why a build cannot go on, in one sentence."""


class Workshop:
    """
    A folder of one build: `log` and `progress` are root's, all else belongs to unprivileged accounts.

    Tools run under `setpriv` without capabilities, and die with this process. Each has its own process ids
    and its own /proc, so it sees no process of others and none of its children outlives it. None but git's
    downloads has a network. Git has an account of its own, so that no build can change what the next one
    is made from.
    """

    def __init__(self, folder: str, environment: dict[str, str]) -> None:
        self.folder = folder
        self.account = pwd.getpwnam(BUILD_USER)
        self.source_account = pwd.getpwnam(SOURCE_USER)
        self.environment = environment
        os.makedirs(folder, mode=0o755, exist_ok=True)

    def own_folder(self, name: str, account: pwd.struct_passwd | None = None) -> str:
        """Make a folder that the compiler's account may write to, or another one."""
        owner = account or self.account
        path = os.path.join(self.folder, name)
        os.makedirs(path, mode=0o755, exist_ok=True)
        os.chown(path, owner.pw_uid, owner.pw_gid)
        return path

    def hand_over(self, path: str) -> None:
        """Give a folder with all that is in it to the compiler's account."""
        for parent, folders, names in os.walk(path):
            for one in (parent, *(os.path.join(parent, name) for name in (*folders, *names))):
                os.chown(one, self.account.pw_uid, self.account.pw_gid, follow_symlinks=False)

    def progress(self, text: str) -> None:
        """Write how far the build is, for those who follow `progress`."""
        with open(os.path.join(self.folder, "progress"), "a", encoding="utf-8") as file:
            file.write(f"strixfleet-progress: {text}\n")

    def run(self, argv: list[str], *, cwd: str, network: bool = False, **options: Any) -> list[str]:
        """Run a tool, log its output and return the lines; raise BuildError when it fails."""
        account = options.get("account", self.account)
        launcher = ["nice", "-n", "10", "setpriv", "--pdeathsig", "KILL", "--"]  # somebody may be served
        launcher += ["unshare", *([] if network else ["--net"]), "--ipc", "--pid", "--mount-proc"]
        launcher += ["--fork", "--kill-child=KILL", "--"]
        launcher += ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}"]
        launcher += ["--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
        launcher += ["--pdeathsig", "KILL", "--"]  # again: changing the account has cleared it
        base = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": self.account.pw_dir, "NINJA_STATUS": "[%f/%t] "}
        child = subprocess.Popen(
            [*launcher, *argv],
            cwd=cwd,
            env={**base, **self.environment, **options.get("environment", {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            umask=0o022,
        )
        limit = threading.Timer(TOOL_LIMIT_S, child.kill)
        limit.daemon = True
        limit.start()
        try:
            lines = self._follow(child, " ".join(argv[:3]))
        except BuildError:
            child.kill()
            raise
        finally:
            limit.cancel()
        if child.wait() != 0:
            raise BuildError(explain(argv[0], child.returncode, lines))
        return lines

    def _follow(self, child: subprocess.Popen[bytes], title: str) -> list[str]:
        lines: deque[str] = deque(maxlen=KEPT_LINES)
        shown = -1
        with open(os.path.join(self.folder, "log"), "a", encoding="utf-8") as log:
            log.write(f"$ {title}\n")
            for raw in iter(lambda: child.stdout.readline(LINE_LIMIT_BYTES) if child.stdout else b"", b""):
                line = plain(raw.decode("utf-8", "replace").rstrip("\n"))
                log.write(line + "\n")
                if log.tell() > LOG_LIMIT_BYTES:
                    raise BuildError(f"{title} printed more than {LOG_LIMIT_BYTES >> 20} MiB")
                lines.append(line)
                step = STEP.match(line)
                if step and int(step[1]) * 100 // int(step[2]) != shown:
                    shown = int(step[1]) * 100 // int(step[2])
                    self.progress(f"{step[1]}/{step[2]}")
        return list(lines)


def explain(tool: str, code: int, lines: list[str]) -> str:
    """Say why a tool failed: its first complaint, and what is known about it."""
    complaint = re.compile(r"error|fatal|cannot |no such |not found|killed|refused", re.IGNORECASE)
    said = [line.strip() for line in lines if complaint.search(line) and not STEP.match(line)]
    text = plain("; ".join((said or [line.strip() for line in lines if line.strip()])[:3]))[:800]
    if any("Killed signal" in line or "Cannot allocate memory" in line for line in lines):
        text += "; hint: out of memory, give the host more or build with fewer jobs"
    return f"{tool} failed with exit code {code}: {text}"
