"""Prove model files: what is in the store, what was sent to it, and what lies elsewhere on the host."""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import stat
from typing import Any

from ansible_collections.strixfleet.fleet.plugins.module_utils.model_download import Download, Wanted
from ansible_collections.strixfleet.fleet.plugins.module_utils.model_folder import (
    BLOCK,
    Folder,
    StoreError,
    digest_of,
    identity,
)
from ansible_collections.strixfleet.fleet.plugins.module_utils.model_http import Client


STORED_MODE = 0o644


def plain_status(path: str) -> os.stat_result | None:
    """Describe a plain file without following a link."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def is_stamped(status: os.stat_result | None, stamp: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Tell whether the file is the one whose digest was proved."""
    if status is None or stamp.get("sha256") != wanted["sha256"]:
        return False
    return {key: stamp.get(key) for key in identity(status)} == identity(status)


def is_owned(status: os.stat_result) -> bool:
    """Tell whether only root can change the file."""
    return stat.S_IMODE(status.st_mode) == STORED_MODE and status.st_uid == os.geteuid()


def read_text(path: str) -> str | None:
    """Read a stamp before anything is touched."""
    if plain_status(path) is None:
        return None
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read(65536)


def refuse_unreadable(path: str, reader: str) -> None:
    """Refuse a file that the service's account cannot read; tried as that account, in a child process."""
    account = pwd.getpwnam(reader)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups(os.getgrouplist(reader, account.pw_gid))
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
            code = 0 if os.access(path, os.R_OK) else 1
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1] != 0:
        group = grp.getgrgid(account.pw_gid).gr_name
        raise StoreError(
            f"{path} cannot be read by {reader}:{group}; hint: chmod a+r the file, a+x its folders",
        )


def write_stamp(folder: Folder, wanted: dict[str, Any], status: os.stat_result) -> None:
    """Note what was proved."""
    stamp = {"path": wanted["path"], "sha256": wanted["sha256"], **identity(status)}
    folder.write(os.path.basename(wanted["stamp"]), json.dumps(stamp, sort_keys=True) + "\n")


def vouch(wanted: dict[str, Any]) -> dict[str, Any]:
    """Prove a file that is used where it lies."""
    descriptor = os.open(wanted["path"], os.O_RDONLY | os.O_CLOEXEC)
    try:
        before, found, after = os.fstat(descriptor), digest_of(descriptor), os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if found != wanted["sha256"]:
        raise StoreError(f"{wanted['path']} has sha256 {found}, the inventory says {wanted['sha256']}")
    if identity(before) != identity(after):
        raise StoreError(f"{wanted['path']} changed while it was read; hint: run again when it is complete")
    with Folder(os.path.dirname(wanted["stamp"])) as folder:
        write_stamp(folder, wanted, after)
    return {}


def adopt(folder: Folder, name: str, wanted: dict[str, Any]) -> bool:
    """Keep a file that is right but has no stamp, as after a run that was killed in between."""
    status = folder.status(name)
    if status is None:
        return False
    descriptor = folder.open(name)
    try:
        if digest_of(descriptor) != wanted["sha256"]:
            return False
        own(descriptor)
        write_stamp(folder, wanted, os.fstat(descriptor))
    finally:
        os.close(descriptor)
    return True


def own(descriptor: int) -> None:
    """Make a file root's, readable by all."""
    os.fchmod(descriptor, STORED_MODE)
    if os.geteuid() == 0:
        os.fchown(descriptor, 0, 0)


def move(incoming: str, folder: Folder, part: str) -> None:
    """Rename within a file system, else copy."""
    status = os.lstat(incoming)
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"{incoming} is no plain file")
    if status.st_dev == os.fstat(folder.descriptor).st_dev:
        os.rename(incoming, part, dst_dir_fd=folder.descriptor)
        return
    if status.st_size > folder.spare_bytes():
        raise StoreError(
            f"{folder.path}: needs {status.st_size} bytes, {max(folder.spare_bytes(), 0)} can be spared",
        )
    made = folder.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    with open(incoming, "rb") as source, os.fdopen(made, "wb") as target:
        shutil.copyfileobj(source, target, BLOCK)
    os.unlink(incoming)


def take_in(folder: Folder, part: str, wanted: dict[str, Any]) -> None:
    """Bring what the action plugin sent into the folder and prove it."""
    folder.remove(part)
    try:
        move(wanted["incoming"], folder, part)
        descriptor = folder.open(part)
        own(descriptor)
        found = digest_of(descriptor)
        os.close(descriptor)
    except OSError:
        folder.remove(part)
        raise
    if found != wanted["sha256"]:
        folder.remove(part)
        raise StoreError(f"{wanted['source']}: what arrived is not what was sent; hint: run again")


def publish(folder: Folder, part: str, name: str, wanted: dict[str, Any]) -> None:
    """Return the proved file its name, then its stamp."""
    descriptor = folder.open(part)
    own(descriptor)
    os.fsync(descriptor)
    folder.rename(part, name)
    write_stamp(folder, wanted, os.fstat(descriptor))
    os.close(descriptor)


def store(wanted: dict[str, Any]) -> dict[str, Any]:
    """Bring the file into the store."""
    directory, name = os.path.split(wanted["path"])
    with Folder(directory) as folder:
        folder.lock(wanted["wait_s"])
        if adopt(folder, name, wanted):
            return {}
        if wanted["origin"] == "path":
            return store_sent(folder, name, wanted)
        client = Client(wanted["source"], allow_http=wanted["http_allowed"], token=wanted["token"])
        download = Download(folder, Wanted(name, wanted["source"], wanted["sha256"]), client)
        download.run()
        publish(folder, f"{name}.part", name, wanted)
        return {"transferred_bytes": download.transferred_bytes}


def store_sent(folder: Folder, name: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Store what the action plugin sent, or ask it to send."""
    if not wanted["incoming"]:
        return {"needs_file": True, "spare_bytes": folder.spare_bytes()}
    take_in(folder, f"{name}.part", wanted)
    publish(folder, f"{name}.part", name, wanted)
    return {}
