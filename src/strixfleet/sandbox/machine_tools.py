"""Run the programs that create sandboxes, and report which of them are missing."""

import os
import shutil
import subprocess
from collections.abc import Sequence

from strixfleet.errors import SandboxError


PACKAGE_OF = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "ip": "iproute2",
    "ssh-keygen": "openssh-client",
    "unshare": "util-linux",
}
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def run(argv: Sequence[str], *, stdin: str | None = None) -> str:
    """Run a program and return its output; on failure raise SandboxError with its last lines."""
    environment = os.environ | {"PATH": f"{os.environ.get('PATH', '')}:{SBIN}", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        raise SandboxError(" ".join(words[-3:]), where=" ".join(argv[:3]))
    return done.stdout


def has(program: str) -> bool:
    """Tell whether a program is installed."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:{SBIN}") is not None


def require_root_and_tools() -> None:
    """Raise SandboxError if this user or machine cannot create sandboxes."""
    if os.geteuid():
        raise SandboxError(
            "creating systemd hosts needs root", where="sandbox", hint="run the command with sudo"
        )
    missing = sorted({package for program, package in PACKAGE_OF.items() if not has(program)})
    if missing:
        packages = " ".join(missing)
        raise SandboxError(
            f"missing packages: {packages}", where="sandbox", hint=f"apt-get install {packages}"
        )
