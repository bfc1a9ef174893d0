#!/usr/bin/python
"""Join a tailnet, and keep the settings that can change while joined."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule


DOCUMENTATION = """
module: tailscale_up
short_description: Join a tailnet
description:
  - Runs C(tailscale up) only where the host is not joined, C(tailscale set) where a setting differs.
  - The key travels in a file in memory that only this process can open; no command line, log or disk sees it.
author: The strixfleet developers
options:
  auth_key:
    description: Key to join with; not needed on a host that has joined.
    type: str
  login_server:
    description: Control server; Tailscale's own when left out.
    type: str
  hostname:
    description: Name in the tailnet; the host's when left out.
    type: str
  tags:
    description: ACL tags to ask for when joining.
    type: list
    elements: str
    default: []
  timeout_s:
    description: Seconds to wait for the control server.
    type: int
    default: 60
"""

EXAMPLES = """
- name: Join the tailnet
  strixfleet.fleet.tailscale_up:
    auth_key: "{{ vault_tailscale_key }}"
    tags: ["tag:llm"]
"""

RETURN = """
state:
  description: State of the backend afterwards.
  type: str
  returned: success
"""

PASSING = ("NoState", "Starting")
DAEMON_WAIT_S = 20


def status(module: AnsibleModule) -> dict[str, Any]:
    """Ask the daemon, which needs a moment after its start."""
    deadline = time.monotonic() + DAEMON_WAIT_S
    while True:
        rc, out, err = module.run_command(["tailscale", "status", "--json", "--peers=false"])
        found: dict[str, Any] = json.loads(out) if rc == 0 and out.startswith("{") else {}
        if found.get("BackendState", "NoState") not in PASSING:
            return found
        if module.check_mode and not found:
            return {}  # a real run would have started it
        if time.monotonic() > deadline:
            reason = " ".join(err.split())[-200:] or f"its state stays {found.get('BackendState')}"
            module.fail_json(msg=f"tailscaled does not answer: {reason}")
        time.sleep(0.5)


def up_argv(parameters: dict[str, Any], key_file: str) -> list[str]:
    """Return the command that joins."""
    argv = ["tailscale", "up", f"--auth-key=file:{key_file}", f"--timeout={parameters['timeout_s']}s"]
    if parameters["login_server"]:
        argv.append(f"--login-server={parameters['login_server']}")
    if parameters["hostname"]:
        argv.append(f"--hostname={parameters['hostname']}")
    if parameters["tags"]:
        argv.append(f"--advertise-tags={','.join(parameters['tags'])}")
    return argv


def join(module: AnsibleModule) -> None:
    """Log in with the key, handed over in an anonymous file that is gone with this process."""
    key = module.params["auth_key"]
    if not key:
        module.fail_json(msg="this host has not joined a tailnet; hint: give tailscale_auth_key (from vault)")
    descriptor = os.memfd_create("tailscale-auth-key")
    try:
        os.write(descriptor, key.encode())
        argv = up_argv(module.params, f"/proc/self/fd/{descriptor}")
        rc, out, err = module.run_command(argv, pass_fds=[descriptor])
    finally:
        os.close(descriptor)
    if rc != 0:
        module.fail_json(msg=f"tailscale up failed: {' '.join((err or out).split())[-400:]}")


def resume(module: AnsibleModule) -> None:
    """Bring a host back that has logged in before; flags would reset what the operator set."""
    rc, out, err = module.run_command(["timeout", str(module.params["timeout_s"]), "tailscale", "up"])
    if rc != 0:
        module.fail_json(msg=f"tailscale up failed: {' '.join((err or out).split())[-400:]}")


def settings_due(module: AnsibleModule, found: dict[str, Any]) -> list[str]:
    """Return the flags of `tailscale set` for what differs."""
    have = (found.get("Self") or {}).get("HostName") or ""
    want = module.params["hostname"]
    return [f"--hostname={want}"] if want and have.lower() != want else []


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "auth_key": {"type": "str", "no_log": True},
            "login_server": {"type": "str"},
            "hostname": {"type": "str"},
            "tags": {"type": "list", "elements": "str", "default": []},
            "timeout_s": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    if module.get_bin_path("tailscale") is None:
        if module.check_mode:
            module.exit_json(changed=True, state="NoState")
        module.fail_json(msg="the program tailscale is not installed")
    found = status(module)
    before = found.get("BackendState", "NoState")
    joins = before != "Running"
    due = [] if joins and before != "Stopped" else settings_due(module, found)
    if module.check_mode or not (joins or due):
        module.exit_json(changed=joins or bool(due), state=before, diff=diff(before, due))
    if joins:
        (resume if before == "Stopped" else join)(module)
    if due:
        module.run_command(["tailscale", "set", *due], check_rc=True)
    after = status(module)["BackendState"]
    if after == "NeedsMachineAuth":
        module.fail_json(msg="the host waits for approval; hint: approve it in the tailnet's admin console")
    if after != "Running":
        module.fail_json(msg=f"the host did not join: its state is {after}")
    module.exit_json(changed=True, state=after, diff=diff(before, due))


def diff(before: str, due: list[str]) -> dict[str, str]:
    """Show the state and the settings that change."""
    return {"before": f"{before}\n", "after": "\n".join(["Running", *due, ""])}


if __name__ == "__main__":
    main()
