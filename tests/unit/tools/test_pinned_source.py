import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from strixfleet.errors import ChangeFailed, UsageError
from strixfleet.tools import git
from strixfleet.tools.pinned_source import KEPT_BUNDLES, pinned_source


Commit = Callable[..., str]
Git = Callable[..., str]
Served = Callable[..., AbstractContextManager[str]]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def receive(folder: Path, bundle: Path) -> None:
    if not folder.exists():
        subprocess.run(["git", "init", "-q", "--bare", str(folder)], check=True)
    words = ["fetch", "-q", str(bundle), "+refs/strixfleet/pin:refs/heads/got"]
    subprocess.run(["git", "-C", str(folder), *words], check=True)


def test_a_path_is_used_as_it_is(upstream: Path, commit: Commit) -> None:
    made = commit("one", "b1")
    found = pinned_source(str(upstream), "b1")
    assert (found.repository, found.commit) == (upstream, made)


def test_a_mirror_has_what_upstream_had_when_it_was_reached(
    upstream: Path, commit: Commit, served: Served
) -> None:
    first = commit("one", "b1")
    with served(upstream.parent, "127.0.0.1") as url:
        address = f"{url}/upstream/.git"
        assert pinned_source(address, "b1").commit == first
        second = commit("two", "b2")
        assert pinned_source(address, "b2").commit == second
        with pytest.raises(UsageError, match="has no tag b3"):
            pinned_source(address, "b3")
    assert pinned_source(address, "b1").commit == first
    assert pinned_source(address, second).commit == second
    with pytest.raises(ChangeFailed, match="cannot be reached from the controller"):
        pinned_source(address, "b3")


def test_a_tag_that_moved_is_not_taken_from_an_old_mirror(
    upstream: Path, commit: Commit, in_upstream: Git, served: Served
) -> None:
    commit("one", "b1")
    with served(upstream.parent, "127.0.0.1") as url:
        pinned_source(f"{url}/upstream/.git", "b1")
        second = commit("two")
        in_upstream("tag", "-f", "b1", second)
        assert pinned_source(f"{url}/upstream/.git", "b1").commit == second


def test_a_bundle_holds_what_is_lacking_and_no_more(
    upstream: Path, commit: Commit, in_upstream: Git, tmp_path: Path
) -> None:
    first = commit("one " * 9999, "b1")
    elsewhere = in_upstream("commit-tree", f"{first}^{{tree}}", "-m", "no ancestor")
    commit("two", "b2")
    whole = pinned_source(str(upstream), "b2").bundle_after(["0" * 40, elsewhere, "--all"])
    lacking = pinned_source(str(upstream), "b2").bundle_after([first])
    receive(tmp_path / "new.git", whole)
    receive(tmp_path / "old.git", pinned_source(str(upstream), "b1").bundle_after([]))
    receive(tmp_path / "old.git", lacking)
    with pytest.raises(subprocess.CalledProcessError):
        receive(tmp_path / "bare.git", lacking)
    again = pinned_source(str(upstream), "b1").bundle_after([first, git.resolve(upstream, "b2").commit])
    receive(tmp_path / "again.git", again)


def test_the_latest_bundles_are_kept(upstream: Path, commit: Commit) -> None:
    made = []
    for number in range(KEPT_BUNDLES + 2):
        commit(str(number), f"b{number}")
        made.append(pinned_source(str(upstream), f"b{number}").bundle_after([]))
    assert sorted(git.cache_folder().glob("*.bundle")) == sorted(made[-KEPT_BUNDLES:])
