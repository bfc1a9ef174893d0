"""Hosts that serve a build of the imitation, and an upstream with a tag for each thing that can go wrong."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from strixfleet.sandbox import lifecycle as sandboxes
from strixfleet.sandbox.boxes import Sandbox, SandboxRequest
from strixfleet.sandbox.gguf_writer import write_random_llama
from strixfleet.tools import file_lock
from tests.conftest import ENDS_WITH_US, ROOT, STRIXFLEET


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
    "v1.0.10": "renamed_flag",
    "v1.0.11": "long_nonsense",
    "v1.0.12": "crosstalk",
    "v1.0.13": "cut_short",
    "v1.0.14": "slow_prefill",
    "v1.1.0": "good",  # these take time to build and to load
    "v1.1.1": "good",
    "v1.1.2": "good",
}
BUILD_AND_LOAD_S = {"v1.1.0": (30, 4), "v1.1.1": (30, 4), "v1.1.2": (60, 60)}
CRASH_AFTER_S = 12
SOAK = str(CRASH_AFTER_S + 4)
BUILDS = "/opt/strixfleet/llama.cpp"
REASONS = {
    "slow": r"speed: .*the previous build reached",
    "wrong_output": "begins with token 64|repeats token 64",
    "crash_on_start": "does not stay up.*cannot start",
    "crash_later": "stays up: .*started anew|stays up: .*does not|answered|did not answer",
    "hangs": "no tokens",
    "long_nonsense": r"all \d facts are recalled from prompts of \d+ tokens, none from those",
    "crosstalk": r"4 requests at once, .* answered \d{5}, which belongs to another request",
    "cut_short": r"4 requests at once, .* ended after 3 tokens, alone after 24",
    "slow_prefill": r"pp512 speed: .*the previous build reached",
    "removed_flag": "does not understand chat: --imitated-flag",
    "does_not_compile": "does not compile",
}
STAGED_NOWHERE = {"removed_flag", "does_not_compile"}  # each host finds that out before anything stops


def tag_of(behaviour: str) -> str:
    return next(tag for tag, name in TAGS.items() if name == behaviour and tag != "v1.0.0")


def git(folder: Path, *words: str) -> str:
    """Run git as nobody in particular, on a day that is always the same."""
    who = {f"GIT_{role}_{key}": "t@t" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    dates = {f"GIT_{role}_DATE": "1767225600 +0000" for role in ("AUTHOR", "COMMITTER")}
    argv, env = ["git", "-C", str(folder), *words], {**os.environ, **who, **dates}
    return subprocess.run(argv, check=True, env=env, stdout=subprocess.PIPE, text=True).stdout.strip()


def make_upstream(folder: Path) -> Path:
    shutil.copytree(IMITATION, folder)
    (folder / "crash_after_s").write_text(f"{CRASH_AFTER_S}\n")
    git(folder, "init", "-q", "-b", "master")
    for tag, behaviour in TAGS.items():
        build_s, load_s = BUILD_AND_LOAD_S.get(tag, (0, 0))
        add_tag(folder, tag, behaviour, load_s=load_s, build_s=build_s)
    return folder


def add_tag(folder: Path, tag: str, behaviour: str, **more: object) -> None:
    """Commit a behaviour, with what else it is to be."""
    for name, value in {"behaviour": behaviour, "notes": tag, **more}.items():
        (folder / name).write_text(f"{value}\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", tag)
    git(folder, "tag", tag)


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
        argv = [*ENDS_WITH_US, STRIXFLEET, *words, "-i", str(self.made.inventory)]
        out = subprocess.PIPE
        return subprocess.Popen(argv, stdout=out, stderr=out, text=True, env=self.environment(), cwd=ROOT)

    def call(self, *words: str) -> tuple[int, dict[str, Any], str]:
        """Return exit code, JSON document and what was said on stderr."""
        process = self.start(*words, "--json")
        out, said = process.communicate(timeout=2400)
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

    def refused(self, host: str) -> list[str]:
        """Return the refs that a host remembers as bad."""
        answer = json.loads(self.run(host, "/opt/strixfleet/lib/strixfleet-host status"))
        return [row["ref"] for row in answer["refused"]]

    def health(self, host: str) -> str:
        ask = 'import urllib.request as u; print(u.urlopen("http://127.0.0.1:8080/health", timeout=5).status)'
        return self.run(host, f"python3 -c '{ask}'".replace("'", "'\\''"))

    def on_trial(self, host: str) -> bool:
        return "activation.json" in self.run(host, "ls /var/lib/strixfleet")

    def wait_until_no_trial(self, limit_s: float) -> float:
        """Wait until no host is on trial; give the seconds that it took."""
        started = time.monotonic()
        while any(self.on_trial(name) for name in self.names):
            assert time.monotonic() - started < limit_s
            time.sleep(1)
        return time.monotonic() - started

    def digest(self, host: str) -> str:
        """Digest what runs and what it runs from; caches, logs and the lock's token are not part of it."""
        look = (
            "find /opt /etc /usr/lib/systemd -xdev -not -path /opt/strixfleet/llama.cpp"
            ' -exec stat -c "%n %a %U %s %Y %N" {} + | sort;'
            " systemctl show llama-server@chat -p InvocationID -p MainPID"
        )
        return hashlib.sha256(self.run(host, look).encode()).hexdigest()


@contextmanager
def no_link(address: str) -> Iterator[None]:
    """Drop whatever goes to or comes from a host."""
    table = f"strixfleet_test_link_{os.getpid()}"
    rules = f"""table inet {table} {{
      chain out {{ type filter hook output priority 0; ip daddr {address} drop; }}
      chain in {{ type filter hook input priority 0; ip saddr {address} drop; }}
    }}"""
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run(["nft", "delete", "table", "inet", table], check=True)


def wait_for(process: "subprocess.Popen[str]", *texts: str) -> None:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if any(text in line for text in texts):
            return
    raise AssertionError("".join(said))


def check_bad_build(site: Site, behaviour: str) -> None:
    """Upgrade to a bad build: the canary goes back for the right reason, nobody else is touched."""
    canary, *others = site.names
    before = {name: site.digest(name) for name in others}
    running = site.current(canary)
    code, document, said = site.call("upgrade", "--to", tag_of(behaviour), "--yes", "--soak", SOAK)
    assert code == 4, said
    rows = document["hosts"]
    assert rows[canary]["outcome"] in {"returned", "failed"}
    assert re.search(REASONS[behaviour], rows[canary]["reason"], re.DOTALL), rows[canary]["reason"]
    untouched = "failed" if behaviour in STAGED_NOWHERE else "skipped"
    assert [rows[name]["outcome"] for name in others] == [untouched] * len(others)
    assert {name: site.digest(name) for name in others} == before
    assert site.current(canary) == running
    assert "llama_cpp_ref: v1.0.0" in site.pin_file.read_text()
    assert site.health(canary) == "200"


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
        "smoke_bench": {"generate_tokens": 32, "repetitions": 3, "calm_s": 0},  # it naps, whatever else runs
    }


def make_layer(name: str, folder: Path, wanted: dict[str, Any]) -> None:
    first = sandboxes.create(SandboxRequest(name=name, hosts=1, box="framework-desktop"), print)
    try:
        site = Site(first, folder, folder / "state", wanted)
        site.write()
        site.play()
        sandboxes.save_layer(first, first.hosts[0].name, LAYER)
    finally:
        sandboxes.destroy(name)


def make_site(name: str, hosts: int, folder: Path) -> Site:
    """Make hosts that serve v1.0.0; the first time of all one is provisioned, and kept as a layer."""
    model, upstream = folder / "tiny.gguf", folder / "upstream"
    write_random_llama(model, size_bytes_at_least=5_000_000)
    make_upstream(upstream)
    with file_lock.held(sandboxes.layers_dir() / f".{LAYER}.lock"):
        if not sandboxes.has_layer(LAYER):
            make_layer(f"{name}-layer", folder, settings(upstream, model))
    request = SandboxRequest(name=name, hosts=hosts, box="framework-desktop", layer=LAYER)
    site = Site(sandboxes.create(request, print), upstream, folder / "state", settings(upstream, model))
    site.write()
    site.play()
    return site


def disposable_site(hosts: int, folder: Path) -> Iterator[Site]:
    """Make a site that is gone afterwards; its name is free, so that several runs may go on at once."""
    name = f"rollout-{os.getpid()}-{hosts}"
    try:
        yield make_site(name, hosts, folder)
    finally:
        sandboxes.destroy(name)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from disposable_site(3, tmp_path_factory.mktemp("rollout"))
