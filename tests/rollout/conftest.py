"""Hosts that serve a build of the imitation, and an upstream with a tag for each thing that can go wrong."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from strixfleet.adapters import sandbox as sandboxes
from strixfleet.adapters.gguf_writer import write_random_llama
from strixfleet.core.sandbox import Sandbox, SandboxRequest


ROOT = Path(__file__).resolve().parents[2]
IMITATION = ROOT / "tests" / "imitation"
SOURCES = b"".join(path.read_bytes() for path in sorted(IMITATION.iterdir()))
LAYER = f"imitation-{hashlib.sha256(SOURCES).hexdigest()[:12]}"
TAGS = {
    "v1.0.0": "good",
    "v1.0.1": "good",
    "v1.0.2": "slow",
    "v1.0.3": "wrong_output",
    "v1.0.4": "crash_on_start",
    "v1.0.5": "crash_later",
    "v1.0.6": "hangs",
    "v1.0.7": "removed_flag",
    "v1.0.8": "does_not_compile",
    "v1.0.9": "good",
}
CRASH_AFTER_S = 12
SOAK = str(CRASH_AFTER_S + 4)
BUILDS = "/opt/strixfleet/llama.cpp"


def tag_of(behaviour: str) -> str:
    return next(tag for tag, name in TAGS.items() if name == behaviour and tag != "v1.0.0")


def make_upstream(folder: Path) -> Path:
    shutil.copytree(IMITATION, folder)
    (folder / "crash_after_s").write_text(f"{CRASH_AFTER_S}\n")
    who = {f"GIT_{role}_{key}": "t@t" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    dates = {f"GIT_{role}_DATE": "1767225600 +0000" for role in ("AUTHOR", "COMMITTER")}

    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(folder), *words], check=True, env={**os.environ, **who, **dates})

    git("init", "-q", "-b", "master")
    for tag, behaviour in TAGS.items():
        (folder / "behaviour").write_text(f"{behaviour}\n")
        (folder / "notes").write_text(tag)
        git("add", "-A")
        git("commit", "-qm", tag)
        git("tag", tag)
    return folder


@dataclass
class Site:
    """Hosts, their inventory, and the command line."""

    made: Sandbox
    upstream: Path
    state: Path
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return [host.name for host in self.made.hosts]

    @property
    def pin_file(self) -> Path:
        return self.made.inventory / "group_vars" / "strix.yml"

    def write(self, **changes: object) -> None:
        self.settings |= changes
        self.pin_file.parent.mkdir(exist_ok=True)
        self.pin_file.write_text(yaml.safe_dump(self.settings))

    def environment(self) -> dict[str, str]:
        own = {"XDG_STATE_HOME": str(self.state), "NO_COLOR": "1", "PYTHONPATH": str(ROOT / "src")}
        return {**os.environ, **own}

    def start(self, *words: str) -> "subprocess.Popen[str]":
        argv = [str(Path(sys.executable).with_name("strixfleet")), *words, "-i", str(self.made.inventory)]
        out = subprocess.PIPE
        return subprocess.Popen(argv, stdout=out, stderr=out, text=True, env=self.environment(), cwd=ROOT)

    def call(self, *words: str) -> tuple[int, dict[str, Any], str]:
        """Give exit code, JSON document and what was said on stderr."""
        process = self.start(*words, "--json")
        out, said = process.communicate(timeout=900)
        assert "Traceback" not in said, said
        try:
            document = json.loads(out)
        except ValueError:
            document = {}
        return process.returncode, document, said

    def play(self) -> None:
        folder = Path(sys.executable).parent
        own = {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_SSH_ARGS": f"-F {self.made.ssh_config}",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        }
        play = Path(__file__).with_name("play.yml")
        argv = [str(folder / "ansible-playbook"), "-i", str(self.made.inventory), str(play)]
        done = subprocess.run(
            argv, cwd=ROOT, env={**self.environment(), **own}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]

    def run(self, host: str, command: str) -> str:
        argv = [
            "ssh",
            "-F",
            str(self.made.ssh_config),
            "-o",
            "BatchMode=yes",
            host,
            f"sudo sh -c '{command}'",
        ]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        return (done.stdout + done.stderr).strip()

    def current(self, host: str) -> str:
        return self.run(host, f"readlink {BUILDS}/current")

    def digest(self, host: str) -> str:
        """Digest what runs and what it runs from; caches, logs and the lock's token are not part of it."""
        look = (
            "find /opt /etc /usr/lib/systemd -xdev -not -path /opt/strixfleet/llama.cpp"
            ' -exec stat -c "%n %a %U %s %Y %N" {} + | sort;'
            " systemctl show llama-server@chat -p InvocationID -p MainPID"
        )
        return hashlib.sha256(self.run(host, look).encode()).hexdigest()


def settings(upstream: Path, model: Path) -> dict[str, Any]:
    return {
        "llama_cpp_repository": str(upstream),
        "llama_cpp_ref": "v1.0.0",
        "llama_cpp_backend": "cpu",
        "llama_models": [
            {"name": "tiny", "path": str(model), "sha256": hashlib.sha256(model.read_bytes()).hexdigest()}
        ],
        "llama_server_instances": [
            {"name": "chat", "model": "tiny", "port": 8080, "arguments": {"imitated-flag": None}}
        ],
        "smoke_bench": {"generate_tokens": 32, "repetitions": 3},
    }


def make_site(name: str, hosts: int, folder: Path) -> Site:
    """Make hosts that serve v1.0.0; the first time of all one is provisioned, and kept as a layer."""
    model, upstream = folder / "tiny.gguf", folder / "upstream"
    write_random_llama(model, size_bytes_at_least=5_000_000)
    make_upstream(upstream)
    if not sandboxes.has_layer(LAYER):
        first = sandboxes.create(
            SandboxRequest(name=f"{name}-layer", hosts=1, box="framework-desktop"), print
        )
        try:
            site = Site(first, upstream, folder / "state", settings(upstream, model))
            site.write()
            site.play()
            sandboxes.save_layer(first, first.hosts[0].name, LAYER)
        finally:
            sandboxes.destroy(f"{name}-layer")
    request = SandboxRequest(name=name, hosts=hosts, box="framework-desktop", layer=LAYER)
    site = Site(sandboxes.create(request, print), upstream, folder / "state", settings(upstream, model))
    site.write()
    site.play()
    return site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    name = "test-rollout"
    made = make_site(name, 3, tmp_path_factory.mktemp("rollout"))
    yield made
    sandboxes.destroy(name)
