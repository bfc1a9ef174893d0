#!/usr/bin/python
"""Take a build of llama.cpp that another host of the same class has made."""

from __future__ import annotations

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.strixfleet.fleet.plugins.module_utils import (
    build_parcel,
    build_process,
    build_publish,
    build_turn,
)


DOCUMENTATION = """
module: llama_take
short_description: Take a build of llama.cpp that another host of the same class has made
description:
  - Checks the parcel against the digest that the controller recorded when it was built, unpacks it as an
    unprivileged user without network, compares every file with the manifest, runs the result, and publishes
    it by a rename.
  - The action plugin finds and sends the parcel. Nothing is sent in check mode.
author: The strixfleet developers
options:
  id:
    description: Name of the build's folder.
    type: str
    required: true
  class:
    description: What C(llama_class) has told; taken by the action plugin.
    type: dict
  commit:
    description: The commit that it was built from; set by the action plugin.
    type: str
  parcel:
    description: The parcel on the host; set by the action plugin.
    type: path
  sha256:
    description: Its recorded digest; set by the action plugin.
    type: str
  proof:
    description: The backend's C(library), or its C(symbol) in llama-server; empty for the CPU.
    type: dict
    default: {}
"""

EXAMPLES = """
- name: Take the build
  strixfleet.fleet.llama_take:
    id: "{{ llama_cpp_build.id }}"
    class: "{{ llama_cpp_class }}"
    proof: "{{ llama_cpp_build.proof }}"
"""

RETURN = """
built_on:
  description: The host that made it.
  type: str
  returned: when it was taken
"""

SPEC: dict[str, Any] = {
    "id": {"type": "str", "required": True},
    "class": {"type": "dict"},
    "commit": {"type": "str"},
    "parcel": {"type": "path"},
    "sha256": {"type": "str"},
    "proof": {"type": "dict", "default": {}},
}


def take(workshop: build_process.Workshop, wanted: dict[str, Any]) -> dict[str, Any]:
    """Unpack, check, publish."""
    workshop.progress("take")
    made = build_parcel.unpack(workshop, wanted["parcel"], wanted["sha256"])
    manifest = build_parcel.manifest_in(made)
    partial = build_turn.empty_partial(wanted["id"])
    build_publish.collect(made, partial)
    build_parcel.refuse_other(manifest, wanted, build_publish.digests(partial))
    build_publish.check(workshop, partial, wanted["proof"], wanted["commit"])
    build_publish.publish(partial, os.path.join(build_turn.BUILDS, wanted["id"]), manifest)
    return {"built_on": manifest.get("built_on", "")}


def main() -> None:
    """Run the module."""
    build_turn.bring_about(AnsibleModule(argument_spec=SPEC, supports_check_mode=True), take)


if __name__ == "__main__":
    main()
