#!/usr/bin/python
"""Bring one model file to a host, or vouch for one that is there."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.strixfleet.fleet.plugins.module_utils import model_store
from ansible_collections.strixfleet.fleet.plugins.module_utils.model_download import download
from ansible_collections.strixfleet.fleet.plugins.module_utils.model_store import StoreError


DOCUMENTATION = """
module: model_file
short_description: Bring a model file to a host, or vouch for one that is there
description:
  - A file gets its name only after its SHA-256 was checked; it is replaced by a rename.
  - What was checked is noted in a stamp beside the file, so that later runs need not read 60 GB again.
  - Downloads with C(curl), which must be installed. A download that was cut is resumed.
  - A file with O(origin=host_path) is read once and never changed.
author: The strixfleet developers
options:
  path:
    description: Where the file is, or will be.
    type: path
    required: true
  stamp:
    description: Where it is noted that the file has its digest.
    type: path
    required: true
  origin:
    description: Where it comes from. The action plugin of the same name sends files of the controller.
    type: str
    choices: [url, path, host_path]
    required: true
  source:
    description: The address, or the path on controller or host.
    type: str
    required: true
  sha256:
    description: The digest that the file must have.
    type: str
    required: true
  http_allowed:
    description: Whether http addresses are accepted.
    type: bool
    default: false
  token:
    description: Sent to the host of O(source) over https, if it asks for one.
    type: str
    default: ""
  incoming:
    description: Path on the host of the file that the action plugin sent.
    type: path
  reader:
    description: Account that must be able to read a file with O(origin=host_path).
    type: str
    default: strixfleet
  wait_s:
    description: How long to wait for another run that works on the same model.
    type: int
    default: 3600
"""

EXAMPLES = """
- name: Store a model
  strixfleet.fleet.model_file:
    path: /var/lib/strixfleet/models/qwen3-8b/qwen3-8b.gguf
    stamp: /var/lib/strixfleet/models/qwen3-8b/.qwen3-8b.gguf.json
    origin: url
    source: https://models.example/qwen3-8b.gguf
    sha256: "{{ digest }}"
"""

RETURN = """
needs_file:
  description: Whether the action plugin has to send the file.
  type: bool
  returned: success
spare_bytes:
  description: How large a file that is sent may be.
  type: int
  returned: when the action plugin has to send the file
"""

SPEC: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "stamp": {"type": "path", "required": True},
    "origin": {"type": "str", "required": True, "choices": ["url", "path", "host_path"]},
    "source": {"type": "str", "required": True},
    "sha256": {"type": "str", "required": True},
    "http_allowed": {"type": "bool", "default": False},
    "token": {"type": "str", "default": "", "no_log": True},
    "incoming": {"type": "path"},
    "reader": {"type": "str", "default": "strixfleet"},
    "wait_s": {"type": "int", "default": 3600},
}


def ensure(wanted: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Look whether the right file is there, and bring or check it where not."""
    in_place = wanted["origin"] == "host_path"
    if in_place and not os.path.isfile(wanted["path"]):
        raise StoreError(f"{wanted['path']}: is not on this host; hint: host_path names a file that is there")
    if in_place and not check_mode:
        model_store.refuse_unreadable(wanted["path"], wanted["reader"])
    status = os.stat(wanted["path"]) if in_place else model_store.plain_status(wanted["path"])
    if status and model_store.is_stamped(status, wanted) and (in_place or is_owned(status)):
        return {"changed": False, "needs_file": False}
    before = "" if status is None else f"{wanted['path']} (not checked)\n"
    diff = {"before": before, "after": f"{wanted['path']} sha256:{wanted['sha256']}\n"}
    result: dict[str, Any] = {"changed": True, "needs_file": False, "diff": diff}
    if check_mode:
        return result
    if in_place:
        model_store.vouch(wanted)
        return result
    return {**result, **store(wanted)}


def is_owned(status: os.stat_result) -> bool:
    """Tell whether only root can change the file."""
    return stat.S_IMODE(status.st_mode) == model_store.FILE_MODE and status.st_uid == os.geteuid()


def store(wanted: dict[str, Any]) -> dict[str, Any]:
    """Bring the file into the store, or ask the action plugin to send it."""
    folder = os.path.dirname(wanted["path"])
    model_store.make_folder(folder)
    with model_store.locked(folder, wanted["wait_s"]) as lock:
        part = clear_for(wanted)
        if model_store.adopt(wanted):
            return {}
        if wanted["origin"] == "url":
            download(wanted, part, lock)
        elif wanted["incoming"]:
            model_store.take_in(wanted, part)
        else:
            return {"needs_file": True, "spare_bytes": model_store.spare_bytes(folder)}
        model_store.publish(part, wanted["path"])
        model_store.write_stamp(wanted, os.lstat(wanted["path"]))
        return {}


def clear_for(wanted: dict[str, Any]) -> str:
    """Return where the file grows until it is complete, and remove what was begun for another digest."""
    path = Path(wanted["path"])
    part = path.with_name(f"{path.name}.{wanted['sha256'][:16]}.part")
    for begun in path.parent.iterdir():
        name = begun.name
        unfinished = name.endswith((".part", ".part.json")) and name.lstrip(".").startswith(f"{path.name}.")
        if unfinished and (begun != part or not model_store.plain_status(str(part))):
            begun.unlink()
    return str(part)


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    os.umask(0o022)
    result: dict[str, Any] = {}
    try:
        result = ensure(module.params, check_mode=module.check_mode)
    except StoreError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename or module.params['path']}: {error.strerror}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
