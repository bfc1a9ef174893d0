#!/usr/bin/python
"""Build llama.cpp at a pinned commit into a folder of its own."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from datetime import date
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.strixfleet.fleet.plugins.module_utils import (
    build_compile,
    build_process,
    build_publish,
    build_source,
)


DOCUMENTATION = """
module: llama_build
short_description: Build llama.cpp at a pinned commit
description:
  - Fetches the source, proves the pin, compiles as an unprivileged user without network, checks the result
    and publishes it under C(/opt/strixfleet/llama.cpp) by a rename. An intact build is left alone.
  - A second call on the same host waits for the first. A killed one leaves nothing that a later one trusts.
  - While it runs, C(/var/lib/strixfleet/build/ID/progress) says how far it is; C(log) says why it failed.
author: The strixfleet developers
options:
  id:
    description: Name of the build's folder.
    type: str
    required: true
  repository:
    description: Git URL, or the path on the controller that O(bundle) was made from.
    type: str
    required: true
  ref:
    description: The pin.
    type: str
    required: true
  bundle:
    description: Git bundle on the host; set by the action plugin for repositories on the controller.
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
  wait_s:
    description: How long to wait for another build on the same host.
    type: int
    default: 7200
"""

EXAMPLES = """
- name: Build llama.cpp
  strixfleet.fleet.llama_build:
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
commit:
  description: The commit that was built.
  type: str
  returned: when something was built
seconds:
  description: How long it took.
  type: int
  returned: when something was built
"""

STATE = "/var/lib/strixfleet"
FOLDERS = ("src", "obj", "tmp")  # of the unprivileged account
SPEC: dict[str, Any] = {
    "id": {"type": "str", "required": True},
    "repository": {"type": "str", "required": True},
    "ref": {"type": "str", "required": True},
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
    "wait_s": {"type": "int", "default": 7200},
}


def take_turn(wait_s: int) -> int:
    """Wait for other builds on this host; the lock goes with the process."""
    os.makedirs(os.path.join(STATE, "build"), mode=0o755, exist_ok=True)
    lock = os.open(os.path.join(STATE, "build", ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > deadline:
                raise build_process.BuildError(f"another build has run for {wait_s} s") from None
            time.sleep(1)
        else:
            return lock


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
    home = os.path.join(STATE, "source")
    os.makedirs(home, mode=0o755, exist_ok=True)
    if os.stat(home).st_uid != 0:  # as earlier versions had it
        shutil.rmtree(home)
        os.mkdir(home, 0o755)
    path = os.path.join(home, "llama.cpp.git")
    os.makedirs(path, mode=0o755, exist_ok=True)
    os.chown(path, workshop.source_account.pw_uid, workshop.source_account.pw_gid)
    return path


def clear(wanted: dict[str, Any]) -> None:
    """Remove what a failed build left, but for its log; called while the lock is held."""
    for folder in FOLDERS:
        shutil.rmtree(os.path.join(STATE, "build", wanted["id"], folder), ignore_errors=True)
    shutil.rmtree(os.path.join(build_source.BUILDS, f".{wanted['id']}.partial"), ignore_errors=True)


def build(wanted: dict[str, Any]) -> dict[str, Any]:
    """Fetch, compile, check, publish; nobody else builds here while the lock is held."""
    started = time.monotonic()
    for name in os.listdir(os.path.join(STATE, "build")):
        if name != ".lock":
            shutil.rmtree(os.path.join(STATE, "build", name))
    workshop = build_process.Workshop(os.path.join(STATE, "build", wanted["id"]), {})
    for name in ("progress", "log"):
        open(os.path.join(workshop.folder, name), "w", encoding="utf-8").close()
    workshop.environment["TMPDIR"] = workshop.own_folder("tmp")  # /tmp is memory on Debian 13
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
    partial = os.path.join(build_source.BUILDS, f".{wanted['id']}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial, mode=0o755)
    build_publish.collect(compiled.folder, partial)
    version, number = build_publish.check(workshop, partial, wanted["proof"], source.commit)
    manifest = {
        "schema": "strixfleet/build/1",
        **{name: wanted[name] for name in ("id", "repository", "ref", "backend", "toolchain")},
        "commit": source.commit,
        "tree": source.tree,
        "definitions": definitions,
        "definitions_passed": compiled.definitions,
        "compilers": compiled.compilers,
        "shader_features": compiled.shader_features,
        "version": version,
        "build_number": number,
    }
    build_publish.publish(partial, os.path.join(build_source.BUILDS, wanted["id"]), manifest)
    shutil.rmtree(workshop.folder)
    return {"commit": source.commit, "seconds": round(time.monotonic() - started)}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    wanted = module.params
    final = os.path.join(build_source.BUILDS, wanted["id"])
    diff = {"before": "", "after": f"{final}\n"}
    if build_publish.intact(final):
        module.exit_json(changed=False)
    if module.check_mode:
        module.exit_json(changed=True, diff=diff)
    os.umask(0o022)
    result: dict[str, Any] = {}
    try:
        lock = take_turn(wanted["wait_s"])
        if build_publish.intact(final):
            module.exit_json(changed=False)
        try:
            result = build(wanted)
        except (build_process.BuildError, OSError):
            clear(wanted)
            raise
        os.close(lock)
    except build_process.BuildError as error:
        log = os.path.join(STATE, "build", wanted["id"], "log")
        module.fail_json(msg=f"{error} (log on the host: {log})")
    except OSError as error:
        module.fail_json(msg=f"{error.filename or final}: {error.strerror}; hint: is the disk full?")
    module.exit_json(changed=True, diff=diff, **result)


if __name__ == "__main__":
    main()
