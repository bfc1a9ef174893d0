"""The lock of what tags named: beside the inventory, and held against the repository as it is now."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from strixfleet.errors import UsageError
from strixfleet.fleet.pin_lock import hold_tags, lock_file
from strixfleet.inventory.schema.fleet_model import Fleet
from strixfleet.managed.llama_cpp.build import Pinned
from tests.fixtures.git_repositories import Git


Commit = Callable[..., str]


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "inventory" / ".strixfleet" / "pins.json"


@pytest.fixture(autouse=True)
def inventory(lock: Path) -> None:
    lock.parent.parent.mkdir()


def test_the_lock_is_beside_the_inventory(lock: Path) -> None:
    assert lock_file(Fleet((), (), str(lock.parent / "known_hosts"))) == lock


def test_what_a_tag_names_is_kept(upstream: Path, commit: Commit, lock: Path) -> None:
    made = commit("one", "b10991")
    pins = [Pinned(str(upstream), "b10991"), Pinned(str(upstream), "c" * 40)]
    hold_tags(lock, pins, write=False)
    assert not lock.exists()
    hold_tags(lock, pins, write=True)
    ((tag, row),) = json.loads(lock.read_text())[str(upstream)].items()
    assert (tag, row["commit"]) == ("b10991", made)
    hold_tags(lock, [Pinned(f"{upstream}/", "b10991")], write=True)


def test_a_moved_tag_is_refused(upstream: Path, commit: Commit, in_upstream: Git, lock: Path) -> None:
    first = commit("one", "b10991")
    pins = [Pinned(str(upstream), "b10991")]
    hold_tags(lock, pins, write=True)
    second = commit("two")
    in_upstream("tag", "-f", "b10991")
    with pytest.raises(UsageError, match="tag b10991 has moved") as caught:
        hold_tags(lock, pins, write=True)
    assert first in caught.value.message
    assert second in caught.value.message
    assert str(lock) in str(caught.value)
    assert json.loads(lock.read_text())[str(upstream)]["b10991"]["commit"] == first


def test_a_tag_and_a_branch_of_one_name_are_refused(
    upstream: Path, commit: Commit, in_upstream: Git, lock: Path
) -> None:
    commit("one", "b10991")
    in_upstream("branch", "b10991")
    with pytest.raises(UsageError, match="has both a tag and a branch b10991"):
        hold_tags(lock, [Pinned(str(upstream), "b10991")], write=True)
    assert not lock.exists()


def test_a_repository_that_cannot_be_asked_is_said(lock: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hold_tags(lock, [Pinned("/nowhere", "b10991")], write=True)
    assert "could not look up whether tag b10991 has moved" in capsys.readouterr().err
    assert not lock.exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"/r": []}', '{"/r": {"b1": {"commit": "x", "since": "y"}}}'])
def test_a_damaged_lock_is_not_an_empty_one(lock: Path, text: str) -> None:
    lock.parent.mkdir()
    lock.write_text(text)
    with pytest.raises(UsageError, match="the lock of the pins cannot be read"):
        hold_tags(lock, [Pinned("/nowhere", "b10991")], write=True)
    hold_tags(lock, [Pinned("/nowhere", "c" * 40)], write=True)


def test_a_lock_that_cannot_be_written_is_said(
    upstream: Path, commit: Commit, lock: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit("one", "b10991")
    nowhere = lock.parent / "no" / "folder" / "pins.json"
    hold_tags(nowhere, [Pinned(str(upstream), "b10991")], write=True)
    assert "what the tags name now is not kept" in capsys.readouterr().err
