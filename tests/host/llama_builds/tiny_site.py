"""Hosts that build the tiny project by the role, their inventory and the repository."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from strixfleet.managed.llama_cpp.build import COMMON_PACKAGES
from strixfleet.sandbox import lifecycle as sandboxes
from strixfleet.sandbox.boxes import Sandbox, SandboxRequest
from strixfleet.tools import file_lock
from tests.conftest import ROOT


BUILDS = "/opt/strixfleet/llama.cpp"
COMPILED = "/var/tmp/tiny-compiled"  # a line for each time that the project is configured
PACKAGES = (*COMMON_PACKAGES, "nftables")
TOOLS = f"tiny-build-tools-{hashlib.sha256(' '.join(PACKAGES).encode()).hexdigest()[:8]}"
RECAP = re.compile(r"^(\S+)\s+: ok=\d+ +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE)
Git = Callable[..., str]
Process = subprocess.Popen[str]


class Site:
    """Hosts, the repository that they build from, and their inventory."""

    def __init__(self, sandbox: Sandbox, upstream: Path, cache: Path) -> None:
        self.sandbox = sandbox
        self.cache = cache
        self.settings: dict[str, object] = {
            "llama_cpp_repository": str(upstream),
            "llama_cpp_ref": "v0.0.1",
            "llama_cpp_backend": "cpu",
        }
        self.environment: dict[str, str] = {}

    @property
    def names(self) -> list[str]:
        return [host.name for host in self.sandbox.hosts]

    def start(self, *flags: str, play: str = "play.yml", **changes: object) -> Process:
        self.settings |= changes
        folder = self.sandbox.inventory / "group_vars"
        folder.mkdir(exist_ok=True)
        (folder / "strix.yml").write_text(yaml.safe_dump(self.settings), encoding="utf-8")
        playbook = Path(sys.executable).with_name("ansible-playbook")
        own = {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_SSH_ARGS": f"-F {self.sandbox.ssh_config}",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            "XDG_CACHE_HOME": str(self.cache),
            "NO_COLOR": "1",
            **self.environment,
        }
        return subprocess.Popen(
            [playbook, "-i", self.sandbox.inventory, *flags, Path(__file__).with_name(play)],
            cwd=ROOT,
            env={**os.environ, **own},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def provision(self, *flags: str, play: str = "play.yml", **changes: object) -> str:
        """Run the role; give `ok`, `changed` or what failed."""
        return verdict(self.start(*flags, play=play, **changes))

    def run(self, command: str, host: str = "", timeout_s: float = 60) -> str:
        argv = [
            "ssh",
            "-F",
            str(self.sandbox.ssh_config),
            "-o",
            "BatchMode=yes",
            host or self.names[0],
            f"sudo sh -c '{command}'",
        ]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=timeout_s)
        return (done.stdout + done.stderr).strip()

    def everywhere(self, command: str) -> list[str]:
        return [self.run(command, name) for name in self.names]

    def compiled(self) -> list[int]:
        """Count how often each host has compiled."""
        return [int(text) for text in self.everywhere(f"cat {COMPILED} 2> /dev/null | wc -l")]

    def current(self) -> str:
        return self.run(f"readlink {BUILDS}/current").removeprefix("readlink")

    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run(f"cat {BUILDS}/current/manifest.json"))
        return found

    def forget(self) -> None:
        """Let no build be current, as on a bare host: builds stay, the controller keeps none."""
        self.run(f"rm -f {BUILDS}/current {BUILDS}/previous")
        self.forget_kept()

    def forget_kept(self) -> None:
        """Remove what the controller keeps for other hosts."""
        shutil.rmtree(self.cache / "strixfleet" / "builds", ignore_errors=True)


def verdict(process: Process) -> str:
    output, _ = process.communicate(timeout=600)
    if process.returncode != 0:
        return output
    rows = RECAP.findall(output)
    assert rows, output
    return "ok" if all(changed == "0" for _host, changed, *_ in rows) else "changed"


def hosts_with_tools(name: str, number: int) -> Sandbox:
    """Make hosts that have what compiling takes, from a layer that is made the first time of all."""
    with file_lock.held(sandboxes.layers_dir() / f".{TOOLS}.lock"):
        if not sandboxes.has_layer(TOOLS):
            first = sandboxes.create(SandboxRequest(name=f"{name}-tools", hosts=1), print)
            try:
                site = Site(first, first.folder, first.folder)
                install = "DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends"
                site.run(f"apt-get update -q && {install} {' '.join(PACKAGES)}", timeout_s=600)
                sandboxes.save_layer(first, first.hosts[0].name, TOOLS)
            finally:
                sandboxes.destroy(f"{name}-tools")
    return sandboxes.create(SandboxRequest(name=name, hosts=number, layer=TOOLS), print)


def make_repository(folder: Path) -> Git:
    """Make the project's repository with two tags; return what runs git in it."""
    shutil.copytree(Path(__file__).with_name("tiny"), folder)
    who = {f"GIT_{role}_{key}": "t@t" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}

    def run(*arguments: str) -> str:
        argv = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(argv, check=True, capture_output=True, text=True, env={**os.environ, **who})
        return done.stdout.strip()

    run("init", "-q", "-b", "master")
    for tag in ("v0.0.1", "v0.0.2"):
        (folder / "NOTES").write_text(tag, encoding="ascii")
        run("add", "-A")
        run("commit", "-qm", tag)
        run("tag", tag)
    return run


def wait_for(condition: Callable[[], bool], timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "did not come true"
        time.sleep(0.2)
