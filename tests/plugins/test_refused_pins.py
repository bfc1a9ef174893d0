"""Pins that mean something else than they seem: controller and host refuse them, and name the rule."""

import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from strixfleet.errors import UsageError
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.llama_cpp.defects import refused_builds
from strixfleet.managed.machine import Machine
from strixfleet.tools import git
from tests.fixtures.git_repositories import Git


Commit = Callable[..., str]
Served = Callable[..., AbstractContextManager[str]]


@pytest.fixture
def host(
    plugin: Callable[[str], ModuleType], tmp_path: Path, upstream: Path, served: Served
) -> Callable[[str], str]:
    """Return what resolves a pin on a host that has just fetched the upstream over http."""
    source, process = plugin("module_utils.build_source"), plugin("module_utils.build_process")

    def run(argv: list[str], *, cwd: str, environment: dict[str, str], **_: Any) -> list[str]:  # noqa: ANN401
        done = subprocess.run(
            argv,
            cwd=cwd,
            env={**os.environ, **environment},
            text=True,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if done.returncode != 0:
            raise process.BuildError(done.stdout)
        return done.stdout.splitlines()

    workshop = SimpleNamespace(run=run, folder=str(tmp_path), source_account=None)
    repository = source.Repository(workshop, str(tmp_path / "host.git"))
    ranges = refused_builds(HostSettings(llama_cpp_backend="rocm"), Machine(gfx="gfx1151"))

    def resolve(ref: str) -> str:
        with served(upstream.parent, "127.0.0.1") as url:
            repository.fetch_url(f"{url}/upstream/.git")
            try:
                commit = str(repository.resolve(ref))
                number = repository.build_number(commit)
                source.refuse_known_defects(ref, number, ranges, date(2026, 11, 28))
            except process.BuildError as error:
                raise UsageError(str(error)) from None
        return commit

    return resolve


@pytest.fixture(params=["controller", "host"])
def resolve(
    request: pytest.FixtureRequest, upstream: Path, in_upstream: Git, host: Callable[[str], str]
) -> Callable[[str], str]:
    """Return what resolves a pin; the upstream gives out any commit, as hosting sites do."""
    for name in ("allowFilter", "allowAnySHA1InWant"):
        in_upstream("config", f"uploadpack.{name}", "true")
    return host if request.param == "host" else lambda ref: git.resolve(upstream, ref).commit


def test_a_tag_and_a_commit_of_upstream_are_taken(resolve: Callable[[str], str], commit: Commit) -> None:
    made = commit("one", "b10991")
    commit("two")
    assert resolve("b10991") == resolve(made) == made


def test_an_orphan_commit(resolve: Callable[[str], str], commit: Commit, in_upstream: Git) -> None:
    good = commit("one", "b10991")
    orphan = in_upstream("commit-tree", f"{good}^{{tree}}", "-p", good, "-m", "from a fork")
    with pytest.raises(UsageError, match=f"no branch or tag reaches {orphan}: it may come from a fork"):
        resolve(orphan)


def test_a_tag_and_a_branch_of_one_name(
    resolve: Callable[[str], str], commit: Commit, in_upstream: Git
) -> None:
    tagged = commit("one", "b10991")
    other = commit("two")
    in_upstream("branch", "b10991")
    with pytest.raises(UsageError, match=f"both a tag and a branch b10991, at {tagged} and {other}"):
        resolve("b10991")


@pytest.mark.parametrize("kind", ["heads", "tags"])
def test_a_branch_or_tag_named_like_a_commit(
    resolve: Callable[[str], str], commit: Commit, in_upstream: Git, kind: str
) -> None:
    good, evil = commit("one"), commit("two")
    in_upstream("update-ref", f"refs/{kind}/{good}", evil)
    with pytest.raises(UsageError, match=r"with the name of a commit|named .*, like a commit"):
        resolve(good)


def test_a_tag_that_moved_since_it_was_built_here(
    plugin: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, process = plugin("module_utils.build_source"), plugin("module_utils.build_process")
    folder = tmp_path / "b10991-cpu-00000000"
    folder.mkdir()
    first = "a" * 40
    (folder / "manifest.json").write_text(
        f'{{"repository": "/r", "ref": "b10991", "commit": "{first}"}}', encoding="ascii"
    )
    monkeypatch.setattr(source, "BUILDS", str(tmp_path))
    source.refuse_moved_tag("/r", "b10991", first)
    with pytest.raises(process.BuildError, match=f"tag b10991 has moved: it named {first}"):
        source.refuse_moved_tag("/r", "b10991", "b" * 40)


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("b8939", r"is build b8940: it lets any client write .*CVE-2026-21869.*; hint: pin b8941"),
        ("b10499", r"is build b10500: it answers nonsense .*issues/28211\); hint: pin b10865"),
    ],
    ids=["below the floor", "within a defect's range"],
)
def test_a_commit_that_is_known_to_be_bad_once_it_is_fetched(
    host: Callable[[str], str], commit: Commit, tag: str, reason: str
) -> None:
    commit("one", tag)
    made = commit("two")
    with pytest.raises(UsageError, match=f"{made} {reason}"):
        host(made)


def test_a_good_commit_and_one_without_a_number_are_built(host: Callable[[str], str], commit: Commit) -> None:
    first = commit("zero")
    assert host(first) == first
    made = commit("one", "b10990")
    assert host(made) == made


def test_a_waiver_lets_a_bad_build_be_made_until_its_last_day(plugin: Callable[[str], ModuleType]) -> None:
    source, process = plugin("module_utils.build_source"), plugin("module_utils.build_process")
    waiver = {"item": "llama_cpp:defect.rocm-host-buffers", "reason": "patched", "expires": "2026-12-31"}
    settings = HostSettings.model_validate({"llama_cpp_backend": "rocm", "audit_waivers": [waiver]})
    ranges = refused_builds(settings, Machine(gfx="gfx1151"))
    source.refuse_known_defects("c", 10500, ranges, date(2026, 12, 31))
    with pytest.raises(process.BuildError, match="c is build b10500"):
        source.refuse_known_defects("c", 10500, ranges, date(2027, 1, 1))
