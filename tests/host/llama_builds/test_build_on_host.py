"""The role on a real host, with a project that compiles in a second: what is published, and what never is."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import yaml

from strixfleet.sandbox import lifecycle as sandboxes
from strixfleet.sandbox.boxes import Sandbox, SandboxRequest
from tests.conftest import ROOT


pytestmark = pytest.mark.host

NAME = "test-llama"
HOST = f"{NAME}-1"
BUILDS = "/opt/strixfleet/llama.cpp"
TOOLS = "tiny-build-tools"
Git = Callable[..., str]
Process = subprocess.Popen[str]


class Site:
    """One host, the repository that it builds from, and its inventory."""

    def __init__(self, sandbox: Sandbox, upstream: Path) -> None:
        self.sandbox = sandbox
        self.settings: dict[str, object] = {
            "llama_cpp_repository": str(upstream),
            "llama_cpp_ref": "v0.0.1",
            "llama_cpp_backend": "cpu",
        }

    def start(self, *flags: str, **changes: object) -> Process:
        self.settings |= changes
        folder = self.sandbox.inventory / "group_vars"
        folder.mkdir(exist_ok=True)
        (folder / "strix.yml").write_text(yaml.safe_dump(self.settings), encoding="utf-8")
        playbook = Path(sys.executable).with_name("ansible-playbook")
        own = {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_SSH_ARGS": f"-F {self.sandbox.ssh_config}",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            "NO_COLOR": "1",
        }
        return subprocess.Popen(
            [playbook, "-i", self.sandbox.inventory, *flags, Path(__file__).with_name("play.yml")],
            cwd=ROOT,
            env={**os.environ, **own},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def provision(self, *flags: str, **changes: object) -> str:
        """Run the role; give `ok`, `changed` or what failed."""
        return verdict(self.start(*flags, **changes))

    def run(self, command: str) -> str:
        argv = [
            "ssh",
            "-F",
            str(self.sandbox.ssh_config),
            "-o",
            "BatchMode=yes",
            HOST,
            f"sudo sh -c '{command}'",
        ]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        return (done.stdout + done.stderr).strip()

    def current(self) -> str:
        return self.run(f"readlink {BUILDS}/current").removeprefix("readlink")

    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run(f"cat {BUILDS}/current/manifest.json"))
        return found

    def forget(self) -> None:
        """Let no build be current, as on a bare host; the builds stay."""
        self.run(f"rm -f {BUILDS}/current {BUILDS}/previous")


def verdict(process: Process) -> str:
    output, _ = process.communicate(timeout=600)
    if process.returncode != 0:
        return output
    return "ok" if re.search(r"changed=0 ", output) else "changed"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    layer = TOOLS if sandboxes.has_layer(TOOLS) else None
    made = sandboxes.create(SandboxRequest(name=NAME, hosts=1, box="framework-desktop", layer=layer), print)
    yield made
    sandboxes.destroy(NAME)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("git") / "upstream"


@pytest.fixture(scope="module")
def git(repository: Path) -> Git:
    shutil.copytree(Path(__file__).with_name("tiny"), repository)
    who = {f"GIT_{role}_{key}": "t@t" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}

    def run(*arguments: str) -> str:
        argv = ["git", "-C", str(repository), *arguments]
        done = subprocess.run(argv, check=True, capture_output=True, text=True, env={**os.environ, **who})
        return done.stdout.strip()

    run("init", "-q", "-b", "master")
    for tag in ("v0.0.1", "v0.0.2"):
        (repository / "NOTES").write_text(tag, encoding="ascii")
        run("add", "-A")
        run("commit", "-qm", tag)
        run("tag", tag)
    return run


@pytest.fixture(scope="module")
def site(sandbox: Sandbox, repository: Path, git: Git) -> Site:
    found = Site(sandbox, repository)
    assert found.provision() == "changed"
    return found


def test_the_pin_is_built_by_nobody_special_without_network(site: Site, git: Git) -> None:
    manifest = site.manifest()
    assert manifest["commit"] == git("rev-parse", "v0.0.1")
    assert manifest["tree"] == git("rev-parse", "v0.0.1^{tree}")
    assert site.current() == manifest["id"]
    says = site.run(f"{BUILDS}/current/bin/llama-server")
    account = site.run("id -u strixfleet-build")
    assert manifest["commit"][:7] in says
    assert f"account {account} with 1 network links" in says
    assert account != "0"
    bandwidth = json.loads(site.run(f"{BUILDS}/current/bin/strixfleet-membw --seconds 0.1 --mib 64"))
    assert bandwidth["read_gb_s"] > 0


def test_a_second_run_changes_nothing(site: Site) -> None:
    look = 'find /opt/strixfleet /var/lib/strixfleet -exec stat -c "%n %a %U %s %Y %i" {} +'
    before = site.run(look)
    assert site.provision() == "ok"
    assert site.run(look) == before


def test_another_pin_is_left_to_upgrade(site: Site) -> None:
    before = site.current()
    assert site.provision(llama_cpp_ref="v0.0.2") == "ok"
    assert site.current() == before
    site.settings["llama_cpp_ref"] = "v0.0.1"


def test_a_damaged_build_is_foretold_and_made_anew(site: Site) -> None:
    before = site.manifest()["files"]
    site.run(f"echo x >> {BUILDS}/current/bin/llama-server")
    assert site.provision("--check") == "changed"
    assert site.manifest()["files"] == before
    assert site.provision() == "changed"
    assert site.manifest()["files"] == before
    assert site.provision() == "ok"


def test_a_commit_that_no_branch_reaches_changes_nothing(site: Site, git: Git) -> None:
    imposter = git("commit-tree", "v0.0.1^{tree}", "-m", "from a fork")
    site.forget()
    assert "may come from a fork" in site.provision(llama_cpp_ref=imposter)
    assert "No such file" in site.run(f"ls {BUILDS}/current")
    site.settings["llama_cpp_ref"] = "v0.0.1"
    assert site.provision() == "changed"


def test_a_definition_that_the_source_does_not_know_is_named(site: Site) -> None:
    site.forget()
    output = site.provision(llama_cpp_cmake_arguments={"GGML_FOO": "1"})
    assert "does not know GGML_FOO" in output
    assert site.run("ls /var/lib/strixfleet/build/*") == "log\nprogress"
    assert "Traceback" not in output
    site.settings["llama_cpp_cmake_arguments"] = {}
    assert site.provision() == "changed"


def test_a_tag_that_moved_is_refused(site: Site, git: Git) -> None:
    honest = git("rev-parse", "v0.0.1")
    git("tag", "-f", "v0.0.1", "v0.0.2")
    site.forget()
    output = site.provision(llama_cpp_cmake_arguments={"CMAKE_C_FLAGS": "-g"})
    git("tag", "-f", "v0.0.1", honest)
    assert f"tag v0.0.1 has moved: it named {honest}" in output
    site.settings["llama_cpp_cmake_arguments"] = {}
    assert site.provision() == "changed"


def test_hosts_fetch_from_a_web_address_themselves(
    site: Site, git: Git, repository: Path, served: Callable[..., AbstractContextManager[str]]
) -> None:
    git("config", "uploadpack.allowFilter", "true")
    imposter = git("commit-tree", "v0.0.1^{tree}", "-m", "from a fork")
    git("config", "uploadpack.allowAnySHA1InWant", "true")
    site.forget()
    with served(repository.parent, site.sandbox.gateway) as url:
        address = f"{url}/upstream/.git"
        assert f"has no commit {imposter}" in site.provision(
            llama_cpp_repository=address, llama_cpp_allow_http=True, llama_cpp_ref=imposter
        )
        assert site.provision(llama_cpp_ref=git("rev-parse", "v0.0.2")) == "changed"
    assert site.manifest()["repository"] == address
    assert site.manifest()["commit"] == git("rev-parse", "v0.0.2")
    site.forget()
    assert site.provision(llama_cpp_repository=str(repository), llama_cpp_ref="v0.0.1") == "changed"


def test_a_commit_that_is_known_to_be_bad_is_refused_before_it_is_compiled(
    site: Site, git: Git, repository: Path, served: Callable[..., AbstractContextManager[str]]
) -> None:
    """The host finds out, since the controller has no copy of what is at that address."""
    bad = git("rev-parse", "v0.0.2")
    git("tag", "b8939", "v0.0.1")
    site.forget()
    with served(repository.parent, site.sandbox.gateway) as url:
        said = site.provision(
            llama_cpp_repository=f"{url}/upstream/.git", llama_cpp_allow_http=True, llama_cpp_ref=bad
        )
    assert f"{bad} is build b8940: it lets any client write outside" in said
    assert "pin b8941" in said
    assert site.run("ls /var/lib/strixfleet/build/*") == "log\nprogress"
    assert f"{bad} lets any client write outside" in site.provision(llama_cpp_repository=str(repository))
    git("tag", "-d", "b8939")
    assert site.provision(llama_cpp_ref="v0.0.1") == "changed"


@pytest.fixture(scope="module")
def after_a_hostile_build(site: Site, git: Git, repository: Path) -> Site:
    """Build a tag whose CMakeLists.txt tries everything, then forget that build."""
    project = repository / "CMakeLists.txt"
    honest = project.read_text(encoding="ascii")
    shutil.copy(ROOT / "tests" / "imitation" / "hostile.cmake", repository)
    project.write_text(f"{honest}include(hostile.cmake)\n", encoding="ascii")
    git("checkout", "-qb", "hostile")
    git("add", "-A")
    git("commit", "-qm", "v6.6.6")
    git("tag", "v6.6.6")
    git("checkout", "-q", "master")
    site.forget()
    assert site.provision(llama_cpp_ref="v6.6.6") == "changed"
    site.forget()
    return site


def test_a_build_leaves_no_process_and_sees_neither_network_nor_others(after_a_hostile_build: Site) -> None:
    site = after_a_hostile_build
    assert site.run('pgrep -f "[s]leep 98765"') == ""
    assert int(site.run("cat /var/tmp/hostile-processes")) < 15
    assert "No such file" in site.run("ls /var/tmp/hostile-network")


def test_a_build_cannot_change_what_the_next_one_is_made_from(after_a_hostile_build: Site, git: Git) -> None:
    """A smudge filter would change the files of a good pin, under the name of its commit."""
    site = after_a_hostile_build
    repository = "/var/lib/strixfleet/source/llama.cpp.git"
    assert "evil" not in site.run(f"cat {repository}/config {repository}/info/attributes")
    assert site.provision(llama_cpp_ref="v0.0.2") == "changed"
    assert "tiny" in site.run(f"{BUILDS}/current/bin/llama-server")
    assert site.manifest()["tree"] == git("rev-parse", "v0.0.2^{tree}")
    assert "No such file" in site.run("ls /var/tmp/hook-ran")


def test_a_killed_build_publishes_nothing_and_leaves_no_process(site: Site) -> None:
    site.forget()
    site.run(f"rm -rf {BUILDS}/v0.0.2-*; touch /var/tmp/tiny-hangs")
    running = site.start(llama_cpp_ref="v0.0.2")
    wait_for(lambda: "configure" in site.run("cat /var/lib/strixfleet/build/v0.0.2-*/progress"))
    wait_for(lambda: "sleep" in site.run("ps -u strixfleet-build -o comm="))
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    site.run("pkill -9 -f ^/usr/bin/python3")
    wait_for(lambda: site.run("ps -u strixfleet-build -o comm=") == "")
    assert "v0.0.2" not in site.run(f"ls -A {BUILDS}")
    site.run("rm /var/tmp/tiny-hangs")
    assert site.provision() == "changed"
    assert site.current().startswith("v0.0.2-")
    assert site.run("ls /var/lib/strixfleet/build") == ""


def test_of_two_builds_at_once_one_waits(site: Site) -> None:
    site.forget()
    site.run(f"rm -r {BUILDS}/v0.0.2-*")
    both = [verdict(process) for process in [site.start(), site.start()]]
    assert set(both) <= {"ok", "changed"}, both
    assert site.manifest()["ref"] == "v0.0.2"
    assert site.provision() == "ok"


def test_a_corrupted_compiler_cache_does_not_reach_the_build(site: Site) -> None:
    before = site.manifest()["files"]
    cache = "/var/cache/strixfleet/ccache"
    flip = f'find {cache} -name "*R" -newer /etc/hostname -size -64k'
    assert site.run(flip), "the build did not use the cache"
    site.run(flip + ' -exec sh -c "printf xxxx | dd of=\\$0 bs=1 seek=40 conv=notrunc status=none" {} \\;')
    site.run(f"rm -r {BUILDS}/v0.0.2-*")
    assert site.provision() == "changed"
    assert site.manifest()["files"] == before


def wait_for(condition: Callable[[], bool], timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "did not come true"
        time.sleep(0.2)
