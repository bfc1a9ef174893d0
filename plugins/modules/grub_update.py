#!/usr/bin/python
"""Regenerate GRUB's configuration and show what became of the command lines."""

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
command_lines:
  description: The kernel command lines of all entries, each once, in order.
  type: list
  elements: str
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


def command_lines(text: str) -> list[str]:
    """Return the command lines of all entries, each once: the first need not be the one that boots."""
    found = re.findall(r"^\s*linux(?:efi|16)?\s+\S+[ \t]*(.*)$", text, re.MULTILINE)
    return list(dict.fromkeys(line.strip() for line in found))


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    before = read()
    if module.check_mode:
        module.exit_json(changed=True, command_lines=command_lines(before))
    module.run_command([module.get_bin_path("update-grub", required=True)], check_rc=True)
    after = read()
    if not command_lines(after):
        module.fail_json(msg=f"{GRUB_CFG} has no linux entry after update-grub")
    diff = {
        name: "".join(f"{line}\n" for line in command_lines(text))
        for name, text in {"before": before, "after": after}.items()
    }
    module.exit_json(changed=before != after, command_lines=command_lines(after), diff=diff)


if __name__ == "__main__":
    main()
