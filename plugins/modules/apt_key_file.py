#!/usr/bin/python
"""Documentation of the action plugin of the same name."""

from __future__ import annotations


DOCUMENTATION = """
module: apt_key_file
short_description: Put the key of an apt repository on the host, checked
description:
  - Reads the key on the controller, refuses it unless it holds exactly one primary key with the fingerprint
    given, and writes it armoured, root's and readable by all, for C(Signed-By).
author: The strixfleet developers
options:
  src:
    description: Key file on the controller, armoured or binary; relative to the inventory's folder.
    type: path
    required: true
  dest:
    description: Where apt reads it, ending in C(.asc).
    type: path
    required: true
  fingerprint:
    description: The key's fingerprint, 40 hexadecimal digits in upper case.
    type: str
    required: true
"""

EXAMPLES = """
- name: Install the repository's key
  strixfleet.fleet.apt_key_file:
    src: keys/noble.noarmor.gpg
    dest: /etc/apt/keyrings/strixfleet-tailscale.asc
    fingerprint: 2596A99EAAB33821893C0A79458CA832957F5868
"""

RETURN = """
dest:
  description: Where it was written.
  type: str
  returned: success
"""
