#!/usr/bin/python
"""Build llama.cpp at a pinned commit into a folder of its own."""

from __future__ import annotations

import os
import shutil
import time
from datetime import date
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.strixfleet.fleet.plugins.module_utils import (
    build_compile,
    build_parcel,
    build_process,
    build_publish,
    build_source,
    build_turn,
)


DOCUMENTATION = """
module: llama_build
short_description: Build llama.cpp at a pinned commit
description:
  - Fetches the source, proves the pin, compiles as an unprivileged user without network, checks the result
    and publishes it under C(/opt/strixfleet/llama.cpp) by a rename. An intact build is left alone.
  - One host of a class builds; the action plugin leaves the others to C(llama_take).
  - A second call on the same host waits for the first. A killed one leaves nothing that a later one trusts.
  - While it runs, C(/var/lib/strixfleet/build/ID/progress) says how far it is; C(log) says why it failed.
author: The strixfleet developers
options:
  id:
    description: Name of the build's folder.
    type: str
    required: true
  repository:
    description: Git URL, or a path on the controller.
    type: str
    required: true
  ref:
    description: The pin.
    type: str
    required: true
  class:
    description: What C(llama_class) has told; taken by the action plugin.
    type: dict
  build_host:
    description: Which host of a class builds, else the idlest; taken by the action plugin.
    type: str
  bundle:
    description: Git bundle on the host; set by the action plugin. Without it the host fetches the source.
    type: path
  commit:
    description: The commit that the bundle holds; set by the action plugin.
    type: str
  backend:
    description: What to build for.
    type: str
    required: true
  definitions:
    description: CMake definitions.
    type: dict
    required: true
  strict:
    description: Names of definitions that the source must know.
    type: list
    elements: str
    required: true
  offline:
    description: Pairs of alternative names and a value; the first name that the source knows is defined.
    type: list
    elements: list
    required: true
  compilers:
    description: The backend's compilers, whose versions are recorded.
    type: list
    elements: str
    default: []
  job_bytes:
    description: Memory that one job of the build takes.
    type: int
    required: true
  asked_environment:
    description: Variables of the build, each with the command that prints its value and what to add to it.
    type: dict
    default: {}
  proof:
    description: The backend's C(library), or its C(symbol) in llama-server; empty for the CPU.
    type: dict
    default: {}
  membw:
    description: C source of the program that measures memory bandwidth.
    type: str
    required: true
  toolchain:
    description: Name and version of the operating system, for the record.
    type: str
    required: true
  refused:
    description:
      - Ranges of builds that are known to be bad; each has first_bad, first_good, text and accepted_until.
      - The build's number is that of the nearest tag bNNNN; without one, nothing is refused.
    type: list
    elements: dict
    default: []
  build_number:
    description: The number of the commit in O(bundle), which has no tags; set by the action plugin.
    type: int
  built_on:
    description: Name of the host in the inventory, for the record; set by the action plugin.
    type: str
    default: ""
  parcel:
    description: File that the build is packed into for other hosts of its class; set by the action plugin.
    type: path
"""

EXAMPLES = """
- name: Build llama.cpp
  strixfleet.fleet.llama_build:
    class: "{{ llama_cpp_class }}"
    id: "{{ llama_cpp_build.id }}"
    repository: "{{ llama_cpp_build.repository }}"
    ref: "{{ llama_cpp_build.ref }}"
    backend: "{{ llama_cpp_build.backend }}"
    definitions: "{{ llama_cpp_build.definitions }}"
    strict: "{{ llama_cpp_build.strict }}"
    offline: "{{ llama_cpp_build.offline }}"
    compilers: "{{ llama_cpp_build.compilers }}"
    job_bytes: "{{ llama_cpp_build.job_bytes }}"
    asked_environment: "{{ llama_cpp_build.asked_environment }}"
    proof: "{{ llama_cpp_build.proof }}"
    membw: "{{ llama_cpp_build.membw }}"
    toolchain: "{{ llama_cpp_build.toolchain }}"
"""

RETURN = """
present:
  description: Whether the host has the build.
  type: bool
  returned: when it has
commit:
  description: The commit that was built.
  type: str
  returned: when something was built
seconds:
  description: How long it took.
  type: int
  returned: when something was built
sha256:
  description: Digest of the parcel.
  type: str
  returned: when it was packed
size_bytes:
  description: Size of the parcel.
  type: int
  returned: when it was packed
"""

SPEC: dict[str, Any] = {
    "id": {"type": "str", "required": True},
    "repository": {"type": "str", "required": True},
    "ref": {"type": "str", "required": True},
    "class": {"type": "dict"},
    "build_host": {"type": "str"},
    "bundle": {"type": "path"},
    "commit": {"type": "str"},
    "backend": {"type": "str", "required": True},
    "definitions": {"type": "dict", "required": True},
    "strict": {"type": "list", "elements": "str", "required": True},
    "offline": {"type": "list", "elements": "list", "required": True},
    "compilers": {"type": "list", "elements": "str", "default": []},
    "job_bytes": {"type": "int", "required": True},
    "asked_environment": {"type": "dict", "default": {}},
    "proof": {"type": "dict", "default": {}},
    "membw": {"type": "str", "required": True},
    "toolchain": {"type": "str", "required": True},
    "refused": {"type": "list", "elements": "dict", "default": []},
    "build_number": {"type": "int"},
    "built_on": {"type": "str", "default": ""},
    "parcel": {"type": "path"},
}


def fetch(workshop: build_process.Workshop, wanted: dict[str, Any]) -> build_source.Source:
    """Bring the pinned source."""
    workshop.progress("fetch")
    repository = build_source.Repository(workshop, repository_folder(workshop))
    if wanted["bundle"]:
        parcel = os.path.join(workshop.folder, "source.bundle")
        shutil.copyfile(wanted["bundle"], parcel)
        os.chmod(parcel, 0o644)
        repository.fetch_bundle(parcel, wanted["commit"])
        os.unlink(parcel)
        commit = wanted["commit"]
    else:
        repository.fetch_url(wanted["repository"])
        commit = repository.resolve(wanted["ref"])
    number = wanted["build_number"] or repository.build_number(commit)
    build_source.refuse_known_defects(wanted["ref"], number, wanted["refused"], date.today())  # noqa: DTZ011
    build_source.refuse_moved_tag(wanted["repository"], wanted["ref"], commit)
    workshop.progress("checkout")
    checked_out = os.path.join(workshop.own_folder("src", workshop.source_account), "llama.cpp")
    source = repository.check_out(commit, checked_out)
    workshop.hand_over(os.path.dirname(checked_out))
    return source


def repository_folder(workshop: build_process.Workshop) -> str:
    """Return the repository's folder; one that the compiler's account could write to is thrown away."""
    home = os.path.join(build_turn.STATE, "source")
    os.makedirs(home, mode=0o755, exist_ok=True)
    if os.stat(home).st_uid != 0:  # as earlier versions had it
        shutil.rmtree(home)
        os.mkdir(home, 0o755)
    path = os.path.join(home, "llama.cpp.git")
    os.makedirs(path, mode=0o755, exist_ok=True)
    os.chown(path, workshop.source_account.pw_uid, workshop.source_account.pw_gid)
    return path


def build(workshop: build_process.Workshop, wanted: dict[str, Any]) -> dict[str, Any]:
    """Fetch, compile, check, publish."""
    started = time.monotonic()
    source = fetch(workshop, wanted)
    definitions = {name: str(value) for name, value in wanted["definitions"].items()}
    offline = [([str(name) for name in names], str(value)) for names, value in wanted["offline"]]
    recipe = build_compile.Recipe(
        definitions=definitions,
        offline=offline,
        **{
            name: wanted[name]
            for name in build_compile.Recipe._fields
            if name not in {"definitions", "offline"}
        },
    )
    compiled = build_compile.compile_source(workshop, source.folder, recipe)
    workshop.progress("publish")
    partial = build_turn.empty_partial(wanted["id"])
    build_publish.collect(compiled.folder, partial)
    version, number = build_publish.check(workshop, partial, wanted["proof"], source.commit)
    manifest = {
        "schema": "strixfleet/build/1",
        **{name: wanted[name] for name in ("id", "repository", "ref", "backend", "toolchain", "built_on")},
        "commit": source.commit,
        "tree": source.tree,
        "definitions": definitions,
        "definitions_passed": compiled.definitions,
        "compilers": compiled.compilers,
        "shader_features": compiled.shader_features,
        "version": version,
        "build_number": number,
    }
    build_publish.publish(partial, os.path.join(build_turn.BUILDS, wanted["id"]), manifest)
    return {"commit": source.commit, "seconds": round(time.monotonic() - started)}


def pack(wanted: dict[str, Any]) -> dict[str, Any]:
    """Pack the build where other hosts are to have it, too."""
    if not wanted["parcel"]:
        return {}
    return build_parcel.pack(os.path.join(build_turn.BUILDS, wanted["id"]), wanted["parcel"])


def main() -> None:
    """Run the module."""
    build_turn.bring_about(AnsibleModule(argument_spec=SPEC, supports_check_mode=True), build, pack)


if __name__ == "__main__":
    main()
