#!/usr/bin/python
"""Documentation of the action plugin of the same name."""

from __future__ import annotations


DOCUMENTATION = """
module: choose
short_description: Tell whether a host carries variables of strixfleet
description:
  - Looks at the variables that the inventory gives the host; extra variables do not count.
  - Asks the host nothing and changes nothing.
author: The strixfleet developers
"""

EXAMPLES = """
- name: Look which variables the host carries
  strixfleet.fleet.choose:
  register: ours
"""

RETURN = """
carried:
  description: Names of the variables.
  type: list
  elements: str
  returned: success
"""
