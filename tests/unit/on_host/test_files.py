"""Files on a host: old or new after a power cut, and nothing that never ends is read."""

import os
from pathlib import Path

import pytest

from strixfleet.on_host import ask, files


def test_a_file_is_flushed_before_it_gets_its_name_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a power cut may leave the name with nothing behind it."""
    deeds: list[str] = []
    sync, rename = os.fsync, os.rename

    def hear_sync(descriptor: int) -> None:
        deeds.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        sync(descriptor)

    def hear_rename(old: str, new: str) -> None:
        deeds.append(f"rename {Path(new).name}")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", hear_sync)
    monkeypatch.setattr(os, "rename", hear_rename)
    files.write(str(tmp_path / "unit"), b"x", draft=str(tmp_path / "draft"))
    assert deeds == ["sync draft", "rename unit", f"sync {tmp_path.name}"]


def test_a_pipe_among_files_is_an_error_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for read in (files.read_text, files.sha256):
        with pytest.raises(OSError, match="is not a plain file"):
            read(str(tmp_path / "pipe"))
    rows = ask.answer({"root": "", "questions": [["read", f"{tmp_path}/pipe"], ["tree", str(tmp_path)]]})
    assert [row[3] is None for row in rows] == [False, False]


def test_what_a_file_has_room_for_is_written_into_it(tmp_path: Path) -> None:
    path = tmp_path / "record"
    path.write_bytes(b"a longer text than the new one")
    files.overwrite(str(path), b"short")
    assert path.read_bytes().rstrip() == b"short"
    with pytest.raises(OSError, match="No space left"):
        files.overwrite(str(path), b"x" * 100_000)
