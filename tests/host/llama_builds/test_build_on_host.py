"""The role on a real host, with a project that compiles in a second: what is published, and what never is."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from strixfleet.sandbox import lifecycle as sandboxes
from strixfleet.sandbox.boxes import Sandbox
from tests.conftest import ROOT
from tests.host.llama_builds.tiny_site import (
    BUILDS,
    Git,
    Site,
    hosts_with_tools,
    make_repository,
    verdict,
    wait_for,
)


pytestmark = pytest.mark.host

NAME = "test-llama"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    yield hosts_with_tools(NAME, 1)
    sandboxes.destroy(NAME)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("git") / "upstream"


@pytest.fixture(scope="module")
def git(repository: Path) -> Git:
    return make_repository(repository)


@pytest.fixture(scope="module")
def site(sandbox: Sandbox, repository: Path, git: Git, tmp_path_factory: pytest.TempPathFactory) -> Site:
    found = Site(sandbox, repository, tmp_path_factory.mktemp("cache"))
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


def test_where_the_controller_cannot_reach_a_web_address_hosts_fetch_themselves(
    site: Site, git: Git, repository: Path, served: Callable[..., AbstractContextManager[str]]
) -> None:
    git("config", "uploadpack.allowFilter", "true")
    imposter = git("commit-tree", "v0.0.1^{tree}", "-m", "from a fork")
    git("config", "uploadpack.allowAnySHA1InWant", "true")
    site.forget()
    site.environment = {"http_proxy": "http://127.0.0.1:1"}
    with served(repository.parent, site.sandbox.gateway) as url:
        address = f"{url}/upstream/.git"
        assert f"has no commit {imposter}" in site.provision(
            llama_cpp_repository=address, llama_cpp_allow_http=True, llama_cpp_ref=imposter
        )
        assert site.provision(llama_cpp_ref=git("rev-parse", "v0.0.2")) == "changed"
    site.environment = {}
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
    site.forget_kept()
    assert site.provision() == "changed"
    assert site.manifest()["files"] == before
