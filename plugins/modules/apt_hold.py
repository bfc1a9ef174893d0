#!/usr/bin/python
"""Hold packages against upgrades, or release them."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule


DOCUMENTATION = """
module: apt_hold
short_description: Hold packages against upgrades, or release them
description:
  - Unlike C(dpkg_selections) it takes all packages at once; in check mode they need not be installed yet.
author: The strixfleet developers
options:
  held:
    description: Packages to hold.
    type: list
    elements: str
    default: []
  released:
    description: Packages that must not be held.
    type: list
    elements: str
    default: []
"""

EXAMPLES = """
- name: Hold the GPU's firmware
  strixfleet.fleet.apt_hold:
    held: [firmware-amd-graphics]
"""

RETURN = """
held:
  description: All packages that are held afterwards.
  type: list
  elements: str
  returned: success
"""


def held_now(module: AnsibleModule) -> set[str]:
    """Ask apt for the packages that are held."""
    _rc, out, _err = module.run_command(["apt-mark", "showhold"], check_rc=True)
    return set(out.split())


def main() -> None:
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(argument_spec={"held": names, "released": names}, supports_check_mode=True)
    before = held_now(module)
    hold = sorted(set(module.params["held"]) - before)
    release = sorted(set(module.params["released"]) & before)
    after = (before | set(hold)) - set(release)
    if not module.check_mode:
        for verb, packages in (("hold", hold), ("unhold", release)):
            if packages:
                module.run_command(["apt-mark", verb, "--", *packages], check_rc=True)
        after = held_now(module)
        if not set(module.params["held"]) <= after:
            module.fail_json(msg=f"apt-mark did not hold {', '.join(sorted(set(hold) - after))}")
    show = ["".join(f"{name}\n" for name in sorted(rows)) for rows in (before, after)]
    module.exit_json(changed=before != after, held=sorted(after), diff={"before": show[0], "after": show[1]})


if __name__ == "__main__":
    main()
