#!/usr/bin/python
"""Tell what decides which other hosts a build of llama.cpp runs on."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.strixfleet.fleet.plugins.module_utils import (
    build_process,
    build_publish,
    build_source,
    build_turn,
)


DOCUMENTATION = """
module: llama_class
short_description: Tell which hosts one build of llama.cpp serves
description:
  - Changes nothing. The action plugin makes a class of what is told, with the build's name and its commit.
author: The strixfleet developers
options:
  id:
    description: Name of the build's folder.
    type: str
    required: true
  repository:
    description: Git URL, or a path on the controller; taken by the action plugin.
    type: str
    required: true
  ref:
    description: The pin; taken by the action plugin.
    type: str
    required: true
  compilers:
    description: The backend's compilers.
    type: list
    elements: str
    default: []
"""

EXAMPLES = """
- name: See which hosts one build serves
  strixfleet.fleet.llama_class:
    id: "{{ llama_cpp_build.id }}"
    repository: "{{ llama_cpp_build.repository }}"
    ref: "{{ llama_cpp_build.ref }}"
    compilers: "{{ llama_cpp_build.compilers }}"
"""

RETURN = """
needed:
  description: Whether the host lacks the build.
  type: bool
  returned: always
machine:
  description: What C(-march=native) means here, the compilers and the C library.
  type: dict
  returned: when it is needed
load:
  description: Load a core, of the last five minutes.
  type: float
  returned: when it is needed
pins:
  description: Commits that the host has got from the controller before.
  type: list
  returned: when it is needed
"""

SPEC: dict[str, Any] = {
    "id": {"type": "str", "required": True},
    "repository": {"type": "str", "required": True},
    "ref": {"type": "str", "required": True},
    "compilers": {"type": "list", "elements": "str", "default": []},
}


def said(*argv: str) -> str:
    """Return what a program prints."""
    environment = {"PATH": build_process.PATH, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def machine(compilers: list[str]) -> dict[str, str]:
    """Tell what a build depends on beside its recipe; a compiler's first line is its identity."""
    found = {"native": said("cc", "-march=native", "-Q", "--help=target")}
    found["libc"] = os.confstr("CS_GNU_LIBC_VERSION") or ""
    for tool in ("cc", "c++", *compilers):
        found[tool] = next(iter(said(tool, "--version").splitlines()), "")
    return found


def pins() -> list[str]:
    """Name the commits that the host has got from the controller before."""
    folder = os.path.join(build_turn.STATE, "source", "llama.cpp.git", "refs", "strixfleet", "pins")
    try:
        return sorted(name for name in os.listdir(folder) if build_source.COMMIT.match(name))
    except FileNotFoundError:
        return []


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    if build_publish.intact(os.path.join(build_turn.BUILDS, module.params["id"])):
        module.exit_json(changed=False, needed=False)
    try:
        found = machine(module.params["compilers"])
    except (OSError, subprocess.SubprocessError) as error:
        module.fail_json(msg=f"could not ask a compiler what it is: {error}")
    load = os.getloadavg()[1] / (os.cpu_count() or 1)
    module.exit_json(changed=False, needed=True, machine=found, load=load, pins=pins())


if __name__ == "__main__":
    main()
