"""S9 and the stamps: nothing leaves the store, and what is there is proved once and not again."""

import hashlib
import json
import os
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


def test_a_sent_file_is_proved_and_then_left_alone(tmp_path: Path, module: ModuleType) -> None:
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


def test_what_arrives_damaged_gets_no_name(
    tmp_path: Path, module: ModuleType, folder_module: ModuleType
) -> None:
    with pytest.raises(folder_module.StoreError, match="what arrived is not what was sent"):
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


@pytest.mark.parametrize("name", ["../evil", "..", "/etc/passwd", "a/b", "-x", "a\0b", "a..b", ""])
def test_no_name_leads_out_of_the_store(tmp_path: Path, folder_module: ModuleType, name: str) -> None:
    folder = folder_module.Folder(str(tmp_path / "models/m"))

    with pytest.raises(folder_module.StoreError, match="no name for a file"):
        folder.open(name, os.O_WRONLY | os.O_CREAT)


@pytest.mark.parametrize("part", ["models", "models/m"])
def test_a_link_in_place_of_a_folder_is_refused(tmp_path: Path, folder_module: ModuleType, part: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / part).parent.mkdir(exist_ok=True)
    (tmp_path / part).symlink_to(elsewhere)

    with pytest.raises(folder_module.StoreError, match="is a link or a file; hint: use a bind mount"):
        folder_module.Folder(str(tmp_path / "models/m"))

    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", ["m.gguf.part", ".m.gguf.json", ".m.gguf.json.tmp"])
def test_no_write_goes_through_a_planted_link(tmp_path: Path, module: ModuleType, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "models/m").mkdir(parents=True)
    (tmp_path / "models/m" / name).symlink_to(victim)

    module.ensure(wanted(tmp_path, incoming=sent(tmp_path)), check_mode=False)

    assert victim.read_text() == "untouched"
    assert (tmp_path / "models/m/m.gguf").read_bytes() == CONTENT


def in_place(tmp_path: Path, **more: object) -> dict[str, Any]:
    path = tmp_path / "theirs.gguf"
    if not path.exists():
        path.write_bytes(CONTENT)
    stamp = str(tmp_path / "state/models/m/0.json")
    return wanted(tmp_path, path=str(path), stamp=stamp, origin="host_path", source=str(path), **more)


def account() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


def test_a_file_used_in_place_is_read_once_and_never_changed(tmp_path: Path, module: ModuleType) -> None:
    request = in_place(tmp_path, reader=account())
    before = (tmp_path / "theirs.gguf").stat()

    assert module.ensure(request, check_mode=False)["changed"]
    assert not module.ensure(request, check_mode=False)["changed"]

    after = (tmp_path / "theirs.gguf").stat()
    assert (before.st_mode, before.st_mtime_ns, before.st_ino) == (
        after.st_mode,
        after.st_mtime_ns,
        after.st_ino,
    )
    stamp = json.loads((tmp_path / "state/models/m/0.json").read_text())
    assert (stamp["path"], stamp["sha256"]) == (request["path"], DIGEST)


def test_a_file_used_in_place_must_be_the_right_one(
    tmp_path: Path, module: ModuleType, folder_module: ModuleType
) -> None:
    with pytest.raises(folder_module.StoreError, match=f"has sha256 {DIGEST}, the inventory says 0000"):
        module.ensure(in_place(tmp_path, reader=account(), sha256="0" * 64), check_mode=False)


def test_a_file_used_in_place_must_be_there(
    tmp_path: Path, module: ModuleType, folder_module: ModuleType
) -> None:
    request = wanted(tmp_path, path=str(tmp_path / "none.gguf"), origin="host_path", reader=account())

    for check_mode in (True, False):
        with pytest.raises(folder_module.StoreError, match="is not on this host; hint: host_path"):
            module.ensure(request, check_mode=check_mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another account")
def test_a_file_that_the_servers_cannot_read_is_refused(
    tmp_path: Path, module: ModuleType, folder_module: ModuleType
) -> None:
    request = in_place(tmp_path, reader="nobody")
    (tmp_path / "theirs.gguf").chmod(0o600)

    with pytest.raises(folder_module.StoreError, match="cannot be read by nobody:nogroup; hint: chmod"):
        module.ensure(request, check_mode=False)
