#!/usr/bin/python
"""Make a tuned profile the active one."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule


DOCUMENTATION = """
module: tuned_profile
short_description: Make a tuned profile the active one
description:
  - Asks the running daemon through C(tuned-adm), which returns when the profile is applied.
author: The strixfleet developers
options:
  name:
    description: The profile.
    type: str
    required: true
  reapply:
    description: Apply it also where it is active already, because something has changed behind tuned's back.
    type: bool
    default: false
"""

EXAMPLES = """
- name: Work at full speed
  strixfleet.fleet.tuned_profile:
    name: accelerator-performance
"""

RETURN = """
active:
  description: The profile that is active afterwards.
  type: str
  returned: success
"""

ACTIVE = "/etc/tuned/active_profile"


def active() -> str:
    """Return the profile that tuned recorded as active."""
    try:
        with open(ACTIVE, encoding="utf-8") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "reapply": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    name, before = module.params["name"], active()
    if before == name and not module.params["reapply"]:
        module.exit_json(changed=False, active=before)
    diff = {"before": f"{before}\n", "after": f"{name}\n"}
    if module.check_mode:
        module.exit_json(changed=True, active=before, diff=diff)
    rc, out, err = module.run_command(["tuned-adm", "profile", name])
    if rc != 0 or active() != name:
        reason = " ".join((err or out).split())[-300:]
        module.fail_json(msg=f"tuned did not take the profile {name}: {reason}")
    module.exit_json(changed=True, active=name, diff=diff)


if __name__ == "__main__":
    main()
