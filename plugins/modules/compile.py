#!/usr/bin/python
"""Documentation of the action plugin of the same name."""

from __future__ import annotations


DOCUMENTATION = """
module: compile
short_description: Hand the compiled state of a host to the roles
description:
  - Runs the probe of C(strixfleet audit) on the host and compiles the inventory against what it answered.
  - Returns one dictionary of variables per role; the roles' defaults read it from C(strixfleet_state).
  - Changes nothing.
author: The strixfleet developers
options: {}
"""

EXAMPLES = """
- name: Compile the desired state
  strixfleet.fleet.compile:
  register: strixfleet_state
  no_log: true
"""

RETURN = """
role_vars:
  description: Variables by role.
  type: dict
  returned: success
reboot_due:
  description: Whether a reboot is all that some item lacks.
  type: bool
  returned: success
"""
