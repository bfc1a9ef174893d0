#!/usr/bin/python
"""Documentation of the action plugin of the same name."""

from __future__ import annotations


DOCUMENTATION = """
module: compile
short_description: Hand the compiled state of a host to the roles
description:
  - Runs the probe of C(strixfleet audit) on the host and compiles the inventory against what it answered.
  - Returns what each role has to do by kind; roles read it from C(strixfleet_state).
  - Changes nothing.
author: The strixfleet developers
options:
  again:
    description: >-
      Probe the host although this play has compiled its state already, or the command that began the play
      handed it on; needed after something changed that the state depends on.
    type: bool
    default: false
"""

EXAMPLES = """
- name: Compile the desired state
  strixfleet.fleet.compile:
  register: strixfleet_state
"""

RETURN = """
deeds:
  description: What each role has to do, lists of arguments by role and kind. Holds secrets.
  type: dict
  returned: success
problems:
  description: What keeps this host from being provisioned at all, each with its remedy.
  type: list
  elements: str
  returned: success
recorded:
  description: What is recorded on the host once all of it is applied.
  type: dict
  returned: success
applied_stale:
  description: Whether the host records something else than I(recorded).
  type: bool
  returned: success
simulated:
  description: The box that a sandbox host presents; empty on a real one.
  type: str
  returned: success
kernel_root:
  description: The folder that stands in for /proc and /sys there.
  type: str
  returned: success
boot_id:
  description: The kernel's id of this boot.
  type: str
  returned: success
differences:
  description: What differs, in the form of the audit's items.
  type: list
  elements: dict
  returned: success
reboot_due:
  description: Whether a reboot is all that some item lacks.
  type: bool
  returned: success
"""
