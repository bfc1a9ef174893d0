#!/usr/bin/python
"""Bring one model file to a host, or vouch for one that is there."""

from __future__ import annotations

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.strixfleet.fleet.plugins.module_utils import model_proof
from ansible_collections.strixfleet.fleet.plugins.module_utils.model_folder import StoreError, read_stamp
from ansible_collections.strixfleet.fleet.plugins.module_utils.model_http import DownloadError


DOCUMENTATION = """
module: model_file
short_description: Bring a model file to a host, or vouch for one that is there
description:
  - A file gets its name only after its SHA-256 was proved; it is replaced by a rename.
  - What was proved is noted in a stamp beside the file, so that later runs need not read 60 GB again.
  - A cut download is resumed. A file with O(origin=host_path) is read once and never changed.
author: The strixfleet developers
options:
  path:
    description: Where the file is, or will be.
    type: path
    required: true
  stamp:
    description: Where its verified identity is noted.
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
    description: Shown to the original host, if it asks for one.
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
transferred_bytes:
  description: What was downloaded.
  type: int
  returned: when something was downloaded
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
    """Look, and do what is missing."""
    in_place = wanted["origin"] == "host_path"
    if in_place and not os.path.isfile(wanted["path"]):
        raise StoreError(f"{wanted['path']} is not on this host; hint: host_path names a file that is there")
    if in_place and not check_mode:
        model_proof.refuse_unreadable(wanted["path"], wanted["reader"])
    status = os.stat(wanted["path"]) if in_place else model_proof.plain_status(wanted["path"])
    stamp = read_stamp(model_proof.read_text(wanted["stamp"]))
    proved = model_proof.is_stamped(status, stamp, wanted)
    if proved and status and (in_place or model_proof.is_owned(status)):
        return {"changed": False, "needs_file": False}
    before = "" if status is None else f"{wanted['path']} (not proved)\n"
    diff = {"before": before, "after": f"{wanted['path']} sha256:{wanted['sha256']}\n"}
    result: dict[str, Any] = {"changed": True, "needs_file": False, "diff": diff}
    if check_mode:
        return result
    return result | (model_proof.vouch(wanted) if in_place else model_proof.store(wanted))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    os.umask(0o022)
    result: dict[str, Any] = {}
    try:
        result = ensure(module.params, check_mode=module.check_mode)
    except (StoreError, DownloadError) as error:
        module.fail_json(msg=str(error))
    except KeyError:
        module.fail_json(msg=f"this host has no account {module.params['reader']}")
    except OSError as error:
        module.fail_json(msg=f"{error.filename or module.params['path']}: {error.strerror}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
