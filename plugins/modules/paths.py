#!/usr/bin/python
"""Bring files, folders, links and values of the kernel about, and take away what must not be there."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import stat
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.strixfleet.fleet.plugins.module_utils.on_host import files


DOCUMENTATION = """
module: paths
short_description: Files, folders, links and kernel values, at one stroke and durably
description:
  - Writes each file beside its place, flushes it to the disk and renames it, so that a power cut leaves
    the old file or the new one; C(copy) does not flush. One call for many saves a round trip for each.
  - Folders that are missing above a file are made, owned by root with mode 0755.
author: The strixfleet developers
options:
  files:
    description: Files, each with path, content, mode, owner and group.
    type: list
    elements: dict
    default: []
    suboptions: &file
      path:
        description: Absolute path.
        type: path
        required: true
      content:
        description: The whole content.
        type: str
        required: true
      mode:
        description: Mode in octal.
        type: str
        default: "0644"
      owner:
        description: Account that owns it.
        type: str
        default: root
      group:
        description: Group that owns it.
        type: str
        default: root
  secret_files:
    description: Files whose content is shown nowhere.
    type: list
    elements: dict
    default: []
    suboptions: *file
  folders:
    description: Folders, each with path, mode, owner and group.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: path
        required: true
      mode:
        description: Mode in octal.
        type: str
        default: "0755"
      owner:
        description: Account that owns it.
        type: str
        default: root
      group:
        description: Group that owns it.
        type: str
        default: root
  links:
    description: Symbolic links, each with path and target.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: path
        required: true
      target:
        description: Where it points.
        type: str
        required: true
  absent:
    description: Paths where nothing may be; a folder goes with all that is in it.
    type: list
    elements: path
    default: []
  values:
    description: Values in /proc/sys and /sys, each with path and value.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: path
        required: true
      value:
        description: What the kernel must show.
        type: str
        required: true
  kernel_root:
    description: A folder that stands in for /proc and /sys on hosts that present a simulated box.
    type: str
    default: ""
"""

EXAMPLES = """
- name: Let the kernel swap late
  strixfleet.fleet.paths:
    files:
      - path: /etc/sysctl.d/60-strixfleet.conf
        content: "vm.swappiness = 10\\n"
    values:
      - path: /proc/sys/vm/swappiness
        value: "10"
"""

RETURN = """
changed_paths:
  description: Paths that were changed, or in check mode would be.
  type: list
  elements: str
  returned: success
"""

PATH = {"type": "path", "required": True}
OWNERSHIP = {"owner": {"type": "str", "default": "root"}, "group": {"type": "str", "default": "root"}}


def _file(*, secret: bool) -> dict[str, Any]:
    content = {"type": "str", "required": True, "no_log": secret}
    return {"path": PATH, "content": content, "mode": {"type": "str", "default": "0644"}, **OWNERSHIP}


def _list(options: dict[str, Any]) -> dict[str, Any]:
    return {"type": "list", "elements": "dict", "default": [], "options": options}


SPEC: dict[str, Any] = {
    "files": _list(_file(secret=False)),
    "secret_files": {**_list(_file(secret=True)), "no_log": False},
    "folders": _list({"path": PATH, "mode": {"type": "str", "default": "0755"}, **OWNERSHIP}),
    "links": _list({"path": PATH, "target": {"type": "str", "required": True}}),
    "absent": {"type": "list", "elements": "path", "default": []},
    "values": _list({"path": PATH, "value": {"type": "str", "required": True}}),
    "kernel_root": {"type": "str", "default": ""},
}
Difference = dict[str, str]


def make_folders(path: str) -> None:
    """Make a folder and those above it, whatever the umask."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    make_folders(parent)
    os.mkdir(path, 0o755)
    os.chmod(path, 0o755)  # noqa: S103 - programs and settings that everybody may read
    files.sync(parent)


def ids(wanted: dict[str, str]) -> tuple[int, int]:
    """Return the numbers of owner and group."""
    return pwd.getpwnam(wanted["owner"]).pw_uid, grp.getgrnam(wanted["group"]).gr_gid


def ownership(status: os.stat_result) -> str:
    """Write mode and owners in one word."""
    return f"{status.st_mode & 0o7777:04o} {status.st_uid}:{status.st_gid}"


def found(path: str) -> tuple[str | None, str]:
    """Return the content of a plain file, None where there is none, and its mode and owners."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None, ""
    if not stat.S_ISREG(status.st_mode):
        return None, "not a plain file"
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read(), ownership(status)


def write(wanted: dict[str, str], uid: int, gid: int) -> None:
    """Write one file, and the folders above it."""
    make_folders(os.path.dirname(wanted["path"]))
    content = wanted["content"].encode("utf-8", "surrogateescape")
    files.write(wanted["path"], content, mode=int(wanted["mode"], 8), owner=(uid, gid))


def place_file(wanted: dict[str, str], *, secret: bool, check_mode: bool) -> Difference | None:
    """Bring one file about; return the difference, None where there is none."""
    uid, gid = ids(wanted)
    owned = f"{int(wanted['mode'], 8):04o} {uid}:{gid}"
    content, before = found(wanted["path"])
    if content == wanted["content"] and before == owned:
        return None
    if not check_mode:
        write(wanted, uid, gid)
    old, new = content or "", wanted["content"]
    if secret:
        old, new = "another secret\n" if content else "", "a secret\n"
    return {
        "path": wanted["path"],
        "before_header": f"{wanted['path']} {before}".strip(),
        "after_header": f"{wanted['path']} {owned}",
        "before": old,
        "after": new,
    }


def place_folder(wanted: dict[str, str], *, check_mode: bool) -> Difference | None:
    """Bring one folder about."""
    path, mode = wanted["path"], int(wanted["mode"], 8)
    uid, gid = ids(wanted)
    owned = f"{mode:04o} {uid}:{gid}"
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        before = "absent"
    else:
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(20, "is not a folder", path)
        before = ownership(status)
    if before == owned:
        return None
    if not check_mode:
        make_folders(path)
        os.chown(path, uid, gid)
        os.chmod(path, mode)
    return {"path": path, "before": f"{path}/ {before}\n", "after": f"{path}/ {owned}\n"}


def place_link(wanted: dict[str, str], *, check_mode: bool) -> Difference | None:
    """Point one link where it belongs, by an atomic rename."""
    path, target = wanted["path"], wanted["target"]
    before = os.readlink(path) if os.path.islink(path) else None
    if before == target:
        return None
    if before is None and os.path.lexists(path):
        raise FileExistsError(17, "is not a link", path)
    if not check_mode:
        make_folders(os.path.dirname(path))
        draft = f"{path}.strixfleet-new"
        if os.path.lexists(draft):
            os.unlink(draft)
        os.symlink(target, draft)
        files.rename(draft, path)
    return {"path": path, "before": f"{path} -> {before}\n", "after": f"{path} -> {target}\n"}


def remove(path: str, *, check_mode: bool) -> Difference | None:
    """Take away what is at a path."""
    if not os.path.lexists(path):
        return None
    if not check_mode:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
        files.sync(os.path.dirname(path))
    return {"path": path, "before": f"{path}\n", "after": ""}


def set_value(wanted: dict[str, str], root: str, *, check_mode: bool) -> Difference | None:
    """Write one value of the kernel."""
    path = root + wanted["path"]
    with open(path, encoding="utf-8") as file:
        before = " ".join(file.read().split())
    if before == wanted["value"]:
        return None
    if not check_mode:
        with open(path, "w", encoding="utf-8") as file:
            file.write(wanted["value"] + "\n")
    name = wanted["path"]
    return {"path": name, "before": f"{name} {before}\n", "after": f"{name} {wanted['value']}\n"}


def bring_about(params: dict[str, Any], *, check_mode: bool) -> list[Difference]:
    """Bring all of it about, what goes after what takes its place; return what differed."""
    rows = [place_folder(one, check_mode=check_mode) for one in params["folders"]]
    rows += [place_file(one, secret=False, check_mode=check_mode) for one in params["files"]]
    rows += [place_file(one, secret=True, check_mode=check_mode) for one in params["secret_files"]]
    rows += [place_link(one, check_mode=check_mode) for one in params["links"]]
    rows += [remove(path, check_mode=check_mode) for path in params["absent"]]
    rows += [set_value(one, params["kernel_root"], check_mode=check_mode) for one in params["values"]]
    return [row for row in rows if row is not None]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    try:
        differences = bring_about(module.params, check_mode=module.check_mode)
    except KeyError as problem:
        module.fail_json(msg=f"there is no account or group {problem.args[0]}")
    except OSError as problem:
        module.fail_json(msg=files.said_of(problem))
    paths = [row.pop("path") for row in differences]
    module.exit_json(changed=bool(differences), changed_paths=paths, diff=differences)


if __name__ == "__main__":
    main()
