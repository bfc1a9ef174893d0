#!/usr/bin/python
"""Regenerate GRUB's configuration and show what became of the default entry's command line."""

from __future__ import annotations

import re

from ansible.module_utils.basic import AnsibleModule


DOCUMENTATION = """
module: grub_update
short_description: Regenerate GRUB's configuration
description:
  - Runs C(update-grub) and reports a change where the generated file differs from the one before.
  - In check mode nothing is run and a change is foretold, so call it only when the configuration is stale.
author: The strixfleet developers
options: {}
"""

EXAMPLES = """
- name: Regenerate the boot configuration
  strixfleet.fleet.grub_update:
"""

RETURN = """
command_line:
  description: The kernel command line of the first entry.
  type: str
  returned: success
"""

GRUB_CFG = "/boot/grub/grub.cfg"


def read() -> str:
    """Return grub.cfg, or nothing where there is none."""
    try:
        with open(GRUB_CFG, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def command_line(text: str) -> str:
    """Return the command line of the first entry."""
    found = re.search(r"^\s*linux(?:efi|16)?\s+\S+[ \t]*(.*)$", text, re.MULTILINE)
    return found.group(1).strip() if found else ""


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    before = read()
    if module.check_mode:
        module.exit_json(changed=True, command_line=command_line(before))
    module.run_command([module.get_bin_path("update-grub", required=True)], check_rc=True)
    after = read()
    if not command_line(after):
        module.fail_json(msg=f"{GRUB_CFG} has no linux entry after update-grub")
    diff = {"before": command_line(before) + "\n", "after": command_line(after) + "\n"}
    module.exit_json(changed=before != after, command_line=command_line(after), diff=diff)


if __name__ == "__main__":
    main()
