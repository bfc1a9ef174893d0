#!/usr/bin/python
"""Make a build of llama.cpp the current one where none is."""

from __future__ import annotations

import json
import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.strixfleet.fleet.plugins.module_utils.on_host.envelope import (
    KNOWN_BAD,
    LOCKED,
    UNEXPECTED_BUILD,
)


DOCUMENTATION = """
module: llama_activate
short_description: Make a build of llama.cpp current where none is
description:
  - Calls C(/opt/strixfleet/lib/strixfleet-host), the one program that switches builds.
  - Where another build is current it fails, because moving a host to another build is the work of C(upgrade).
author: The strixfleet developers
options:
  id:
    description: Name of the build's folder.
    type: str
    required: true
  token:
    description: Token of the fleet's lock, where the caller holds it.
    type: int
"""

EXAMPLES = """
- name: Make the build current
  strixfleet.fleet.llama_activate:
    id: "{{ llama_cpp_build.id }}"
"""

RETURN = """
previous:
  description: The build that was current before the last switch.
  type: str
  returned: success
"""

PROGRAM = "/opt/strixfleet/lib/strixfleet-host"
HINTS = {
    UNEXPECTED_BUILD: "; hint: `strixfleet upgrade` moves a host to another build",
    KNOWN_BAD: "; hint: pin another ref, or have this one judged again by `strixfleet upgrade --retry`",
    LOCKED: "; hint: wait for it, or see `strixfleet unlock`",
}
CURRENT = "/opt/strixfleet/llama.cpp/current"


def main() -> None:
    """Run the module."""
    spec = {"id": {"type": "str", "required": True}, "token": {"type": "int", "no_log": False}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    wanted = module.params["id"]
    before = os.readlink(CURRENT) if os.path.islink(CURRENT) else ""
    diff = {"before": f"{CURRENT} -> {before}\n" if before else "", "after": f"{CURRENT} -> {wanted}\n"}
    if module.check_mode:
        module.exit_json(changed=before != wanted, diff=diff)
    token = module.params["token"]
    fence = [] if token is None else ["--token", str(token)]
    code, out, err = module.run_command([PROGRAM, "activate", wanted, "--expect", "none", *fence])
    try:
        answer = json.loads(out)
    except ValueError:
        answer = {}
        module.fail_json(msg=f"{PROGRAM}: {err.strip() or 'no answer'}", rc=code)
    if answer["error"]:
        hint = HINTS.get(answer.get("code"), "")
        module.fail_json(msg=f"{answer['error']}{hint}")
    module.exit_json(changed=answer["changed"], diff=diff, previous=answer["previous"])


if __name__ == "__main__":
    main()
