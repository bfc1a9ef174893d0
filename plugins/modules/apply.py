#!/usr/bin/python
"""Documentation of the action plugin of the same name."""

from __future__ import annotations


DOCUMENTATION = """
module: apply
short_description: Bring about accounts, files, links, packages, units and kernel values
description:
  - Takes the deeds that M(strixfleet.fleet.compile) returned for one aspect and runs a module for each kind,
    in this order - accounts, folders, files, links, what must not be there, packages, holds, units, values.
  - Kinds that only one role knows are left to it. A deed C(problem) refuses the host before anything is done.
  - Nothing is changed where all is as wanted. Files whose content is secret are shown in no difference.
author: The strixfleet developers
options:
  deeds:
    description: Lists of arguments by kind.
    type: dict
    required: true
  hint:
    description: What to do when apt has no such package; ends the message.
    type: str
    default: ""
  kernel_root:
    description: A folder that stands in for /proc and /sys on hosts that present a simulated box.
    type: str
    default: ""
"""

EXAMPLES = """
- name: Apply what the aspect wants
  strixfleet.fleet.apply:
    deeds: "{{ strixfleet_state.deeds.tuning }}"
"""

RETURN = """
changed_names:
  description: Paths and names of what was changed, or in check mode would be.
  type: list
  elements: str
  returned: success
"""
