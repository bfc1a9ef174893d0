#!/usr/bin/python
"""Write the files that strixfleet owns, all in one call, each at one stroke and durably."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.strixfleet.fleet.plugins.module_utils.on_host import files


DOCUMENTATION = """
module: managed_files
short_description: Write whole files at one stroke and durably
description:
  - Writes each file beside its place, flushes it to the disk and renames it, so that a power cut leaves
    the old file or the new one; C(copy) does not flush. One call for many files saves a round trip for each.
  - Folders that are missing are made, owned by root with mode 0755.
author: The strixfleet developers
options:
  files:
    description: Files, each with path, content, mode, owner and group.
    type: list
    elements: dict
    default: []
    suboptions:
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
        description: Account that owns the file.
        type: str
        default: root
      group:
        description: Group that owns the file.
        type: str
        default: root
  folders:
    description: Folders that must be there.
    type: list
    elements: path
    default: []
"""

EXAMPLES = """
- name: Write the program that switches builds
  strixfleet.fleet.managed_files:
    files: "{{ llama_cpp_files }}"
    folders: [/var/lib/strixfleet]
"""

RETURN = """
written:
  description: Paths that were written, or in check mode would be.
  type: list
  elements: str
  returned: success
"""

FILE = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str", "required": True},
    "mode": {"type": "str", "default": "0644"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
}
SPEC: dict[str, Any] = {
    "files": {"type": "list", "elements": "dict", "default": [], "options": FILE},
    "folders": {"type": "list", "elements": "path", "default": []},
}


def make_folders(path: str) -> None:
    """Make a folder and those above it, whatever the umask."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    make_folders(parent)
    os.mkdir(path, 0o755)
    os.chmod(path, 0o755)  # noqa: S103 - programs and settings that everybody may read
    files.sync(parent)


def found(path: str) -> tuple[str | None, str]:
    """Return the content of a regular file, None where there is none, and its mode and owners."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None, ""
    if not stat.S_ISREG(status.st_mode):
        return None, "not a regular file"
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read(), f"{status.st_mode & 0o7777:04o} {status.st_uid}:{status.st_gid}"


def write(wanted: dict[str, str], uid: int, gid: int) -> None:
    """Write one file, and the folders above it."""
    make_folders(os.path.dirname(wanted["path"]))
    content = wanted["content"].encode("utf-8", "surrogateescape")
    files.write(wanted["path"], content, mode=int(wanted["mode"], 8), owner=(uid, gid))


def place(wanted: dict[str, str], *, check_mode: bool) -> dict[str, str] | None:
    """Make one file as wanted; return the difference, None where there is none."""
    uid, gid = pwd.getpwnam(wanted["owner"]).pw_uid, grp.getgrnam(wanted["group"]).gr_gid
    ownership = f"{int(wanted['mode'], 8):04o} {uid}:{gid}"
    content, before = found(wanted["path"])
    if content == wanted["content"] and before == ownership:
        return None
    if not check_mode:
        write(wanted, uid, gid)
    return {
        "before_header": f"{wanted['path']} {before}".strip(),
        "after_header": f"{wanted['path']} {ownership}",
        "before": content or "",
        "after": wanted["content"],
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    differences: list[dict[str, str]] = []
    try:
        for folder in module.params["folders"]:
            if not os.path.isdir(folder):
                differences.append({"before": "", "after": f"{folder}/\n"})
                if not module.check_mode:
                    make_folders(folder)
        rows = [place(wanted, check_mode=module.check_mode) for wanted in module.params["files"]]
        differences += [row for row in rows if row is not None]
    except KeyError as problem:
        module.fail_json(msg=f"the account or group does not exist: {problem.args[0]}")
    except OSError as problem:
        module.fail_json(msg=files.said_of(problem))
    written = [row.get("after_header", row["after"]).split(" ")[0].strip() for row in differences]
    module.exit_json(changed=bool(differences), written=written, diff=differences)


if __name__ == "__main__":
    main()
