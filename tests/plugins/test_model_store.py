"""Model files that are sent or used in place: nothing leaves the store, and a digest is computed once."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.plugins.collection import collection


CONTENT = b"GGUF" + bytes(1000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def module() -> ModuleType:
    return collection("modules.model_file")


@pytest.fixture
def store() -> ModuleType:
    return collection("module_utils.model_store")


def wanted(tmp_path: Path, **more: object) -> dict[str, Any]:
    return {
        "path": str(tmp_path / "models/m/m.gguf"),
        "stamp": str(tmp_path / "models/m/.m.gguf.json"),
        "origin": "path",
        "source": "m.gguf",
        "sha256": DIGEST,
        "http_allowed": False,
        "token": "",
        "incoming": None,
        "reader": "root",
        "wait_s": 1,
        **more,
    }


def sent(tmp_path: Path, content: bytes = CONTENT) -> str:
    path = tmp_path / "incoming"
    path.write_bytes(content)
    return str(path)


def test_a_sent_file_is_checked_and_then_left_alone(tmp_path: Path, module: ModuleType) -> None:
    asked = module.ensure(wanted(tmp_path), check_mode=False)
    done = module.ensure(wanted(tmp_path, incoming=sent(tmp_path)), check_mode=False)
    again = module.ensure(wanted(tmp_path), check_mode=False)

    assert (asked["needs_file"], asked["changed"]) == (True, True)
    assert (done["needs_file"], done["changed"]) == (False, True)
    assert again == {"changed": False, "needs_file": False}
    assert (tmp_path / "models/m/m.gguf").read_bytes() == CONTENT


def test_check_mode_tells_and_touches_nothing(tmp_path: Path, module: ModuleType) -> None:
    result = module.ensure(wanted(tmp_path), check_mode=True)

    assert (result["changed"], result["needs_file"]) == (True, False)
    assert list(tmp_path.iterdir()) == []


def test_what_arrives_damaged_gets_no_name(tmp_path: Path, module: ModuleType, store: ModuleType) -> None:
    with pytest.raises(store.StoreError, match="arrived damaged on the host"):
        module.ensure(wanted(tmp_path, incoming=sent(tmp_path, CONTENT[:-1])), check_mode=False)

    assert [path.name for path in (tmp_path / "models/m").iterdir()] == []


def flip(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(500)
        file.write(b"X")


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def open_up(path: Path) -> None:
    path.chmod(0o666)


def link_elsewhere(path: Path) -> None:
    other = path.with_name("other")
    path.rename(other)
    path.symlink_to(other)


@pytest.mark.parametrize("tamper", [flip, touch, open_up, link_elsewhere])
def test_a_file_that_is_not_the_one_stamped_is_seen(tmp_path: Path, module: ModuleType, tamper: Any) -> None:  # noqa: ANN401
    module.ensure(wanted(tmp_path, incoming=sent(tmp_path)), check_mode=False)
    stored = tmp_path / "models/m/m.gguf"

    tamper(stored)
    assert module.ensure(wanted(tmp_path), check_mode=True)["changed"]
    module.ensure(wanted(tmp_path, incoming=sent(tmp_path)), check_mode=False)

    assert stored.read_bytes() == CONTENT
    assert not stored.is_symlink()
    assert stored.stat().st_mode & 0o777 == 0o644
    assert not module.ensure(wanted(tmp_path), check_mode=True)["changed"]


@pytest.mark.parametrize("part", ["models", "models/m"])
def test_a_link_in_place_of_a_folder_is_refused(tmp_path: Path, store: ModuleType, part: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / part).parent.mkdir(exist_ok=True)
    (tmp_path / part).symlink_to(elsewhere)

    with pytest.raises(store.StoreError, match="is a link or a file; hint: make it a folder"):
        store.make_folder(str(tmp_path / "models/m"))

    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", [f"m.gguf.{DIGEST[:16]}.part", ".m.gguf.json", ".m.gguf.json.tmp"])
def test_no_write_goes_through_a_planted_link(tmp_path: Path, module: ModuleType, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "models/m").mkdir(parents=True)
    (tmp_path / "models/m" / name).symlink_to(victim)

    module.ensure(wanted(tmp_path, incoming=sent(tmp_path)), check_mode=False)

    assert victim.read_text() == "untouched"
    assert (tmp_path / "models/m/m.gguf").read_bytes() == CONTENT


def test_a_file_stored_by_an_earlier_version_is_not_read_again(
    tmp_path: Path, module: ModuleType, store: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models/m"
    folder.mkdir(parents=True)
    (folder / "m.gguf").write_bytes(CONTENT)
    (folder / "m.gguf").chmod(0o644)
    status = (folder / "m.gguf").stat()
    stamp = f'"inode": {status.st_ino}, "mtime_ns": {status.st_mtime_ns}, "path": "{folder}/m.gguf"'
    (folder / ".m.gguf.json").write_text(
        f'{{{stamp}, "sha256": "{DIGEST}", "size_bytes": {status.st_size}}}\n'
    )
    monkeypatch.delattr(store.files, "sha256")

    assert module.ensure(wanted(tmp_path), check_mode=False) == {"changed": False, "needs_file": False}


@pytest.mark.parametrize("stamp", ["", "[]", "{}", "null", '{"sha256": "0"}', "\0"])
def test_a_damaged_stamp_says_nothing(tmp_path: Path, module: ModuleType, stamp: str) -> None:
    module.ensure(wanted(tmp_path, incoming=sent(tmp_path)), check_mode=False)
    (tmp_path / "models/m/.m.gguf.json").write_text(stamp)

    assert module.ensure(wanted(tmp_path), check_mode=True)["changed"]


def test_a_second_run_waits_for_the_first(tmp_path: Path, module: ModuleType, store: ModuleType) -> None:
    store.make_folder(str(tmp_path / "models/m"))
    with (
        store.locked(str(tmp_path / "models/m"), 0),
        pytest.raises(store.StoreError, match="another run has been at work here for 0 s; hint: wait"),
    ):
        module.ensure(wanted(tmp_path, wait_s=0), check_mode=False)


def in_place(tmp_path: Path, **more: object) -> dict[str, Any]:
    path = tmp_path / "theirs.gguf"
    if not path.exists():
        path.write_bytes(CONTENT)
    stamp = str(tmp_path / "state/models/m/0.json")
    return wanted(tmp_path, path=str(path), stamp=stamp, origin="host_path", source=str(path), **more)


@pytest.fixture
def public() -> Iterator[Path]:
    """Make a folder that every account may enter, which tmp_path is not."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another account")


@needs_root
def test_a_file_used_in_place_is_read_once_and_never_changed(public: Path, module: ModuleType) -> None:
    request = in_place(public)
    before = (public / "theirs.gguf").stat()

    assert module.ensure(request, check_mode=False)["changed"]
    assert not module.ensure(request, check_mode=False)["changed"]

    after = (public / "theirs.gguf").stat()
    assert (before.st_mode, before.st_mtime_ns, before.st_ino) == (
        after.st_mode,
        after.st_mtime_ns,
        after.st_ino,
    )
    stamp = json.loads((public / "state/models/m/0.json").read_text())
    assert (stamp["path"], stamp["sha256"]) == (request["path"], DIGEST)


@needs_root
def test_a_file_used_in_place_must_be_the_right_one(
    public: Path, module: ModuleType, store: ModuleType
) -> None:
    with pytest.raises(store.StoreError, match=f"has sha256 {DIGEST}, the inventory says 0000"):
        module.ensure(in_place(public, sha256="0" * 64), check_mode=False)


def test_a_file_used_in_place_must_be_there(tmp_path: Path, module: ModuleType, store: ModuleType) -> None:
    request = wanted(tmp_path, path=str(tmp_path / "none.gguf"), origin="host_path")

    for check_mode in (True, False):
        with pytest.raises(store.StoreError, match="is not on this host; hint: host_path"):
            module.ensure(request, check_mode=check_mode)


@needs_root
def test_a_file_that_the_servers_cannot_read_is_refused(
    public: Path, module: ModuleType, store: ModuleType
) -> None:
    request = in_place(public, reader="nogroup")
    (public / "theirs.gguf").chmod(0o600)

    with pytest.raises(store.StoreError, match="group nogroup cannot read it; hint: chmod"):
        module.ensure(request, check_mode=False)


@needs_root
def test_a_group_that_is_missing_is_named(public: Path, module: ModuleType, store: ModuleType) -> None:
    with pytest.raises(store.StoreError, match="group no-such-account does not exist"):
        module.ensure(in_place(public, reader="no-such-account"), check_mode=False)
