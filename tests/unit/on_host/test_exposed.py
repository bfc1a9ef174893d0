"""What others may change, who runs a copy of a program, and whether a unit's files outran its process."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from strixfleet.on_host import exposed, process, systemd


only_root = pytest.mark.skipif(os.geteuid() != 0, reason="what is root's alone is root's to make")


def below(path: Path, subject: str) -> dict[str, str]:
    """Return what is found below a path, by relative name; what is above it is this machine's business."""
    rows = exposed.writable(subject, "")
    own = {one: row for one, row in rows.items() if Path(one).is_relative_to(path)}
    return {str(Path(one).relative_to(path)): row for one, row in own.items()}


@only_root
def test_what_others_may_write_is_named_with_its_mode(tmp_path: Path) -> None:
    folder = tmp_path / "opt"
    (folder / "lib").mkdir(parents=True)
    for name, mode in {"ours": 0o644, "all": 0o666, "group": 0o664, "setuid": 0o4755}.items():
        (folder / "lib" / name).write_text("")
        (folder / "lib" / name).chmod(mode)
    (folder / "lib" / "link").symlink_to("ours")
    (folder / "theirs").write_text("")
    os.chown(folder / "theirs", 65534, 0)
    for one in (tmp_path, folder, folder / "lib"):
        one.chmod(0o755)

    rows = below(tmp_path, f"{folder}/")

    assert {name: row.split()[0] for name, row in rows.items()} == {
        "opt/lib/all": "0666",
        "opt/lib/group": "0664",
        "opt/lib/setuid": "4755",
        "opt/theirs": "0644",
    }
    assert rows["opt/theirs"].endswith("nobody:root")


@only_root
def test_without_a_slash_only_the_way_to_it_counts(tmp_path: Path) -> None:
    folder = tmp_path / "way" / "end"
    folder.mkdir(parents=True)
    (folder / "file").write_text("")
    (folder / "file").chmod(0o666)
    (tmp_path / "way").chmod(0o777)
    (tmp_path / "link").symlink_to("way")
    folder.chmod(0o755)
    tmp_path.chmod(0o755)

    assert below(tmp_path, f"{tmp_path}/link/end") == {"way": "0777 root:root"}
    assert below(tmp_path, f"{tmp_path}/way/end/file/none") == {"way": "0777 root:root"} | {
        "way/end/file": "0666 root:root"
    }


@contextmanager
def running(program: Path) -> Iterator[str]:
    child = subprocess.Popen([str(program), "60"])
    try:
        yield str(child.pid)
    finally:
        child.kill()
        child.wait()


def test_a_copy_is_found_under_any_name_and_another_program_is_not(tmp_path: Path) -> None:
    sleep = shutil.which("sleep")
    assert sleep is not None
    (tmp_path / "bin").mkdir()
    server = tmp_path / "bin" / "llama-server"
    shutil.copy2(sleep, server)
    copied, other = tmp_path / "sshd", tmp_path / "other"
    shutil.copy2(sleep, copied)
    text = Path(sleep).read_bytes()
    other.write_bytes(text[:-1] + bytes([text[-1] ^ 1]))
    other.chmod(0o755)

    with running(server) as one, running(copied) as two, running(other) as three:
        copied.unlink()
        found = exposed.running_copies(f"{tmp_path}/bin/*-server", "")

    assert found[one] == str(server)
    assert found[two] == f"{copied} (deleted)"
    assert three not in found


def test_files_that_changed_since_a_process_was_started_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time of change tells, which no `touch` sets back; what systemctl set is in force at once."""
    drop_in = tmp_path / "a.service.d" / "x.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("")
    os.utime(drop_in, (1, 1))
    monkeypatch.setattr(systemd, "AT_ONCE", (f"{tmp_path}/control/",))
    (tmp_path / "control").mkdir()
    (tmp_path / "control" / "set.conf").write_text("")
    shown = {
        "FragmentPath": "/etc/hostname",
        "DropInPaths": f"{drop_in} {tmp_path}/control/set.conf {tmp_path}/gone.conf",
    }
    started = Path("/etc/hostname").stat().st_ctime + 1
    monkeypatch.setattr(process, "started_at", lambda _pid: started)

    assert set(systemd.changed_since_start(shown, 1)) >= {str(drop_in), str(drop_in.parent)}
    assert "/etc/hostname" not in systemd.changed_since_start(shown, 1)
    assert f"{tmp_path}/control/set.conf" not in systemd.changed_since_start(shown, 1)

    monkeypatch.setattr(process, "started_at", lambda _pid: 2e10)
    assert systemd.changed_since_start(shown, 1) == []
