import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from strixfleet.errors import ChangeFailed, UsageError
from strixfleet.tools import git


Commit = Callable[..., str]
Git = Callable[..., str]


@contextmanager
def redirecting_to(address: str) -> Iterator[str]:
    """Serve nothing but redirects."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", address + self.path.removeprefix("/here"))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/here"
        server.shutdown()


def test_a_tag_and_a_commit_are_pins(upstream: Path, commit: Commit) -> None:
    first = commit("one", "b1")
    commit("two", "v0.2.0")
    assert git.resolve(upstream, "b1").commit == first
    assert git.resolve(upstream, first).tag is None
    assert len(git.resolve(upstream, "v0.2.0").tree) == 40


def test_an_annotated_tag_names_its_commit(upstream: Path, commit: Commit, in_upstream: Git) -> None:
    made = commit("one")
    in_upstream("tag", "-a", "-m", "release", "v1.2.3")
    assert git.resolve(upstream, "v1.2.3").commit == made


@pytest.mark.parametrize("ref", ["master", "HEAD", "", "-x", "v1.0", "b12 ", "b1;id", "refs/tags/b1", "b1^"])
def test_what_is_no_pin_is_refused(upstream: Path, commit: Commit, ref: str) -> None:
    commit("one", "b1")
    with pytest.raises(UsageError, match="is not a valid pin"):
        git.resolve(upstream, ref)


def test_a_short_commit_is_refused(upstream: Path, commit: Commit) -> None:
    made = commit("one", "b1")
    with pytest.raises(UsageError, match="is not a valid pin"):
        git.resolve(upstream, made[:12])


def test_a_branch_named_like_a_tag_is_refused(upstream: Path, commit: Commit, in_upstream: Git) -> None:
    commit("one")
    in_upstream("branch", "b77")
    with pytest.raises(UsageError, match="b77 is a branch"):
        git.resolve(upstream, "b77")


def test_a_name_that_is_both_a_tag_and_a_branch_is_refused(
    upstream: Path, commit: Commit, in_upstream: Git
) -> None:
    tagged = commit("one", "b77")
    other = commit("two")
    in_upstream("branch", "b77")
    with pytest.raises(UsageError, match=f"has both a tag and a branch b77, at {tagged} and {other}"):
        git.resolve(upstream, "b77")
    assert git.named_at(str(upstream), "b77") == git.Named(tagged, other)
    assert git.resolve(upstream, tagged).commit == tagged


def test_the_build_of_a_commit_is_counted_from_the_nearest_numbered_tag(
    upstream: Path, commit: Commit
) -> None:
    before = commit("zero")
    commit("one", "b10990")
    second = commit("two", "v0.3.36")
    here = git.repository_here(str(upstream))
    assert here is not None
    assert [git.build_number(here, ref) for ref in ("b10990", second, "v0.3.36")] == [10990, 10991, 10991]
    assert [git.build_number(here, ref) for ref in (before, "c" * 40, "b5", "-h")] == [None] * 4


def test_a_repository_that_is_not_here_is_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git, "run", lambda *_given, **_more: pytest.fail("ran git"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert git.repository_here("https://llama.example/llama.cpp.git") is None
    assert git.repository_here(str(tmp_path)) is None


def test_an_imposter_commit_is_refused(upstream: Path, commit: Commit, in_upstream: Git) -> None:
    good = commit("one")
    imposter = in_upstream("commit-tree", f"{good}^{{tree}}", "-p", good, "-m", "from a fork")
    with pytest.raises(UsageError, match="may come from a fork"):
        git.resolve(upstream, imposter)
    in_upstream("tag", "b9", imposter)
    assert git.resolve(upstream, imposter).commit == imposter


@pytest.mark.parametrize("kind", ["branch", "tag"])
def test_a_name_that_looks_like_a_commit_is_refused(
    upstream: Path, commit: Commit, in_upstream: Git, kind: str
) -> None:
    good = commit("one")
    evil = commit("two")
    namespace = "heads" if kind == "branch" else "tags"
    in_upstream("update-ref", f"refs/{namespace}/{good}", evil)
    with pytest.raises(UsageError, match=f"has a {kind} with the name of a commit"):
        git.resolve(upstream, good)


def test_a_mirror_follows_and_a_bundle_leaves_its_repository_alone(
    upstream: Path, commit: Commit, tmp_path: Path
) -> None:
    commit("one", "b1")
    mirror = tmp_path / "cache" / "mirror.git"
    git.update_mirror(str(upstream), mirror)
    second = commit("two", "b2")
    git.update_mirror(str(upstream), mirror)
    assert git.resolve(mirror, "b2").commit == second
    before = sorted(path.name for path in mirror.rglob("*"))
    found = git.bundle(mirror, "b2", tmp_path / "b2.bundle")
    assert found.commit == second
    assert sorted(path.name for path in mirror.rglob("*")) == before
    heads = subprocess.run(
        ["git", "bundle", "list-heads", str(tmp_path / "b2.bundle")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert heads.stdout.split() == [second, "refs/strixfleet/pin"]


def test_a_program_as_protocol_is_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with pytest.raises(ChangeFailed, match="not allowed"):
        git.update_mirror(f"ext::touch {mark}", tmp_path / "mirror.git")
    assert not mark.exists()


def test_a_missing_repository_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a git repository"):
        git.resolve(tmp_path, "b1")


def test_a_redirect_leads_to_no_unencrypted_address(
    upstream: Path, commit: Commit, served: Callable[..., AbstractContextManager[str]]
) -> None:
    commit("one", "b1")
    with served(upstream.parent, "127.0.0.1") as url, redirecting_to(f"{url}/upstream/.git") as elsewhere:
        assert b"refs/tags/b1" in git.run(("ls-remote", f"{url}/upstream/.git"))
        with pytest.raises(ChangeFailed, match=r"git ls-remote: .*http"):
            git.run(("ls-remote", elsewhere))


def test_a_tag_is_looked_up_where_it_is(upstream: Path, commit: Commit) -> None:
    first = commit("one", "b1")
    second = commit("two")
    assert git.tag_at(str(upstream), "b1") == first
    assert git.tag_at(str(upstream), "b2") is None
    subprocess.run(["git", "-C", str(upstream), "tag", "-f", "b1", second], check=True, capture_output=True)
    assert git.tag_at(str(upstream), "b1") == second
