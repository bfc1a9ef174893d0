"""Three hosts of one class: one compiles, all have the same bytes, and none needs a way out."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from strixfleet.sandbox import lifecycle as sandboxes
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

NAME = "test-class"
BUILDER = f"{NAME}-2"
NO_WAY_OUT = (
    "nft add table inet cut"
    ' && nft "add chain inet cut out { type filter hook output priority 0; policy drop; }"'
    ' && nft "add rule inet cut out ct state established,related accept"'
    ' && nft "add rule inet cut out oif lo accept"'
)
BYTES = f"cd {BUILDS} && find . -type f -not -name options | sort | xargs sha256sum && readlink current"
OTHER_COMPILER = (
    'printf "#!/bin/sh\\necho c++ of another kind\\n" > /usr/local/bin/c++ && chmod +x /usr/local/bin/c++'
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("git") / "upstream"


@pytest.fixture(scope="module")
def git(repository: Path) -> Git:
    return make_repository(repository)


@pytest.fixture(scope="module")
def three(
    repository: Path,
    git: Git,
    tmp_path_factory: pytest.TempPathFactory,
    served: Callable[..., AbstractContextManager[str]],
) -> Iterator[Site]:
    """Provision three bare hosts that can answer, but reach nobody, from an upstream on the web."""
    made = hosts_with_tools(NAME, 3)
    try:
        with served(repository.parent, made.gateway) as url:
            site = Site(made, repository, tmp_path_factory.mktemp("cache"))
            assert site.everywhere(NO_WAY_OUT) == [""] * 3
            address = f"{url}/upstream/.git"
            said = site.provision(
                llama_cpp_repository=address, llama_cpp_allow_http=True, llama_cpp_build_host=BUILDER
            )
            assert said == "changed", said
            yield site
    finally:
        sandboxes.destroy(NAME)


def kept(site: Site) -> Path:
    (found,) = site.cache.glob("strixfleet/builds/*/*.tar")
    return found


def wipe(site: Site, host: str) -> None:
    site.run(f"rm -rf {BUILDS}/*", host)


def test_one_compiles_and_all_have_the_same_bytes(three: Site) -> None:
    assert three.compiled() == [0, 1, 0]
    assert len(set(three.everywhere(BYTES))) == 1
    assert "llama-server" in three.run(BYTES)
    assert three.manifest()["built_on"] == BUILDER


def test_a_second_run_compiles_and_changes_nothing(three: Site) -> None:
    assert three.provision() == "ok"
    assert three.compiled() == [0, 1, 0]


def test_a_host_that_joins_later_takes_what_is_kept(three: Site) -> None:
    before = three.run(BYTES)
    wipe(three, three.names[0])
    assert three.provision() == "changed"
    assert three.compiled() == [0, 1, 0]
    assert three.run(BYTES) == before


def test_what_was_changed_on_the_controller_reaches_no_host(three: Site) -> None:
    before = three.run(BYTES)
    wipe(three, three.names[0])
    honest = kept(three).read_bytes()
    kept(three).write_bytes(honest.replace(b"tiny", b"evil"))
    said = three.provision()
    assert f"is not what {BUILDER} has built" in said
    assert three.run(f"ls -A {BUILDS}") == ""
    kept(three).write_bytes(honest)
    assert three.provision() == "changed"
    assert three.run(BYTES) == before


def test_a_builder_that_is_killed_leaves_the_old_build_and_the_others_say_why(three: Site) -> None:
    before = three.everywhere(f"readlink {BUILDS}/current")
    three.run("touch /var/tmp/tiny-hangs", BUILDER)
    running = three.start(play="stage.yml", llama_cpp_ref="v0.0.2")
    wait_for(lambda: "sleep" in three.run("ps -u strixfleet-build -o comm=", BUILDER))
    three.run("pkill -9 -f ^/usr/bin/python3", BUILDER)
    said = verdict(running)
    failed = [line for line in said.splitlines() if line.startswith("fatal: ")]
    assert [f"{BUILDER} builds for this host, too, and failed" in line for line in failed].count(True) == 2, (
        said
    )
    assert three.everywhere(f"readlink {BUILDS}/current") == before
    assert all("0.0.1-tiny" in text for text in three.everywhere(f"{BUILDS}/current/bin/llama-server"))
    assert [text for text in three.everywhere(f"ls -A {BUILDS}") if "v0.0.2" in text] == []

    three.run("rm /var/tmp/tiny-hangs", BUILDER)
    assert three.provision(play="stage.yml") == "changed"
    assert three.compiled() == [0, 3, 0]
    assert all("v0.0.2" in text for text in three.everywhere(f"ls -A {BUILDS}"))
    assert three.everywhere(f"readlink {BUILDS}/current") == before


def test_a_host_of_another_class_compiles_for_itself(three: Site) -> None:
    other = three.names[2]
    three.run(OTHER_COMPILER, other)
    for name in three.names:
        wipe(three, name)
    assert (
        three.provision(llama_cpp_ref="v0.0.1", llama_cpp_cmake_arguments={"CMAKE_C_FLAGS": "-g"})
        == "changed"
    )
    first, second, third = three.compiled()
    assert (first, second, third) == (0, 4, 1)
    assert three.run(f"cat {BUILDS}/current/manifest.json", other).count(f'"built_on": "{other}"') == 1
