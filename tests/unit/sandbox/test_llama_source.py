import io
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from strixfleet.errors import ChangeFailed, FleetError
from strixfleet.sandbox import llama_source
from strixfleet.tools import git


Git = Callable[..., str]
CHANGELOG = """\
# Changelog

## [Unreleased]

## [0.0.2]

- feat: update llama.cpp to ggml-org/llama.cpp@{new}

## [0.0.1]

- feat: update llama.cpp to {old}
"""


def release(
    cache: Path, version: str, files: dict[str, str], changelog: str, modules: Path | None = None
) -> None:
    """Pack what a source distribution looks like."""
    cache.mkdir(exist_ok=True)
    top = f"llama_cpp_python-{version}"
    with tarfile.open(cache / f"{top}.tar.gz", "w:gz") as tar:
        for name, text in {"CHANGELOG.md": changelog, **files}.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            data = text.encode()
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        if modules is not None:
            tar.add(modules, f"{top}/.git/modules/vendor/llama.cpp")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    changelog = CHANGELOG.format(new="0123456789", old="ggml-org/llama.cpp@abcdef012")
    release(folder, "0.0.1", {"vendor/llama.cpp/CMakeLists.txt": "one\n", "vendor/other/x": "no"}, changelog)
    release(folder, "0.0.2", {"vendor/llama.cpp/CMakeLists.txt": "two\n"}, changelog)
    return folder


def test_the_same_release_gives_the_same_commit_anywhere(cache: Path, tmp_path: Path) -> None:
    made = [llama_source.import_from_sdist(tmp_path / name, "0.0.1", cache=cache) for name in ("a", "b")]
    assert made[0] == made[1]
    again = llama_source.import_from_sdist(tmp_path / "a", "0.0.1", cache=cache)
    assert again == made[0]


def test_two_releases_make_an_upstream_with_two_tags(cache: Path, tmp_path: Path) -> None:
    repository = tmp_path / "up.git"
    old = llama_source.import_from_sdist(repository, "0.0.1", cache=cache)
    new = llama_source.import_from_sdist(repository, "0.0.2", parent="v0.0.1", cache=cache)
    assert git.resolve(repository, "v0.0.1").commit == old.commit
    assert git.resolve(repository, "v0.0.2").commit == new.commit
    assert [commit for commit, _ in git.commits_between(repository, old.commit, new.commit)] == [new.commit]
    listing = git.run(("ls-tree", "-r", "--name-only", new.commit), repository=repository)
    assert listing == b"CMakeLists.txt\n"


def test_the_changelog_names_the_upstream_commit(cache: Path, tmp_path: Path) -> None:
    made = llama_source.import_from_sdist(tmp_path / "up.git", "0.0.1", cache=cache)
    assert (made.upstream_commit, made.verified) == ("abcdef012", False)


def test_a_tag_never_moves(cache: Path, tmp_path: Path) -> None:
    repository = tmp_path / "up.git"
    llama_source.import_from_sdist(repository, "0.0.1", cache=cache)
    release(cache, "0.0.1", {"vendor/llama.cpp/CMakeLists.txt": "another\n"}, "## [0.0.1]\n")
    with pytest.raises(ChangeFailed, match="names another commit"):
        llama_source.import_from_sdist(repository, "0.0.1", cache=cache)


def test_upstreams_own_commit_object_proves_the_tree(
    tmp_path: Path, upstream: Path, commit: Callable[..., str]
) -> None:
    head = commit("as upstream has it")
    (upstream / ".git" / "HEAD").write_text(head, encoding="ascii")
    changelog = CHANGELOG.format(new=head[:9], old="")
    files = {"vendor/llama.cpp/file": "as upstream has it"}
    release(tmp_path / "good", "0.0.2", files, changelog, upstream / ".git")
    made = llama_source.import_from_sdist(tmp_path / "up.git", "0.0.2", cache=tmp_path / "good")
    assert (made.upstream_commit, made.verified) == (head, True)
    release(tmp_path / "bad", "0.0.2", {**files, "vendor/llama.cpp/more": "x"}, changelog, upstream / ".git")
    with pytest.raises(FleetError, match="differ from upstream"):
        llama_source.import_from_sdist(tmp_path / "other.git", "0.0.2", cache=tmp_path / "bad")


def test_a_known_release_with_another_digest_is_fetched_anew(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(llama_source.SHA256, "0.0.1", "0" * 64)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(FleetError, match="pip failed"):
        llama_source.import_from_sdist(tmp_path / "up.git", "0.0.1", cache=cache)
