#!/usr/bin/python
"""Bring one llama-server unit to its configuration, by what the running process shows."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.strixfleet.fleet.plugins.module_utils.first_token import refusal
from ansible_collections.strixfleet.fleet.plugins.module_utils.on_host import command, files, process, systemd
from ansible_collections.strixfleet.fleet.plugins.module_utils.on_host.http_client import OK, Server


DOCUMENTATION = """
module: llama_instance
short_description: Bring one llama-server unit to its configuration
description:
  - Compares the running process (its program, the digest in its environment, the age of the files that it
    read) with what is wanted, and restarts only where they differ. So no restart is lost with a killed run.
  - After a start waits for C(/health) and has one token generated. A failure tells the journal's last lines.
author: The strixfleet developers
options:
  name:
    description: Name of the instance.
    type: str
    required: true
  state:
    description: V(absent) stops and disables the unit and removes our drop-in.
    type: str
    choices: [present, absent]
    default: present
  config:
    description: Digest that the process has to carry as STRIXFLEET_CONFIG.
    type: str
  url:
    description: Base address of the server.
    type: str
  key_file:
    description: File with its API key; empty for none.
    type: str
    default: ""
  models:
    description: Files that it reads when it starts.
    type: list
    elements: path
    default: []
  probe:
    description: What it is asked after a start.
    type: str
    choices: [completion, embedding, health]
    default: completion
  renamed:
    description: Whether it uses options that releases spell differently; their spelling is settled first.
    type: bool
    default: false
  program:
    description: The program of the current build.
    type: path
    default: /opt/strixfleet/llama.cpp/current/bin/llama-server
  drain_s:
    description: How long to wait for running requests before a restart.
    type: int
    default: 30
  load_s:
    description: How long to wait for health; the time to read the models at 50 MB/s is added.
    type: int
    default: 120
  token:
    description: Token of the fleet's lock, where the caller holds it.
    type: int
"""

EXAMPLES = """
- name: Serve
  strixfleet.fleet.llama_instance:
    name: chat
    config: "{{ digest }}"
    url: http://127.0.0.1:8080
"""

RETURN = """
reasons:
  description: Why the unit was touched.
  type: list
  elements: str
  returned: success
seconds:
  description: From the restart to the first token.
  type: float
  returned: when restarted
"""

SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "config": {"type": "str"},
    "url": {"type": "str"},
    "key_file": {"type": "str", "default": "", "no_log": False},
    "models": {"type": "list", "elements": "path", "default": []},
    "probe": {"type": "str", "choices": ["completion", "embedding", "health"], "default": "completion"},
    "renamed": {"type": "bool", "default": False},
    "program": {"type": "path", "default": "/opt/strixfleet/llama.cpp/current/bin/llama-server"},
    "drain_s": {"type": "int", "default": 30},
    "load_s": {"type": "int", "default": 120},
    "token": {"type": "int", "no_log": False},
}
UNITS = "/etc/systemd/system"
CACHES = "/var/cache"
PROPERTIES = (
    *("ActiveState", "UnitFileState", "MainPID", "NeedDaemonReload", "NRestarts", "Result"),
    *("FragmentPath", "DropInPaths"),
)
HOST_PROGRAM = "/opt/strixfleet/lib/strixfleet-host"
READ_BYTES_PER_S = 50_000_000
RESTARTS_MAX = 2
LOG_LINES = 30
SPELL_TIMEOUT_S = 180.0  # it has two builds print their help, which may take a minute each
RUNNING = frozenset({"active", "activating", "reloading", "deactivating"})


class InstanceError(Exception):
    """The unit did not reach the wanted state."""


def main_pid(shown: dict[str, str]) -> int:
    """Return a unit's main process; 0 where none runs."""
    return int(shown.get("MainPID") or 0)


def remove_cache(instance: str) -> None:
    """Remove an instance's cache; systemd keeps that of a dynamic user in a private folder, behind a link."""
    link = f"{CACHES}/strixfleet/servers/{instance}"
    if os.path.islink(link):
        os.unlink(link)
    shutil.rmtree(f"{CACHES}/private/strixfleet/servers/{instance}", ignore_errors=True)
    remove_former_cache(instance)


def remove_former_cache(instance: str) -> None:
    """Remove the cache that earlier versions kept beside those of builds and servers."""
    if instance not in {"ccache", "servers"}:
        shutil.rmtree(f"{CACHES}/strixfleet/{instance}", ignore_errors=True)


class Instance:
    """One unit on this host."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.wanted = module.params
        self.unit = f"llama-server@{self.wanted['name']}.service"
        self.drop_ins = f"{UNITS}/{self.unit}.d"
        self.since = int(time.time())

    def systemctl(self, *words: str) -> None:
        done = command.run(["systemctl", *words], timeout_s=None)
        if done.code != 0:
            problem = done.err.strip() or done.out.strip()
            raise InstanceError(f"systemctl {' '.join(words)}: {problem}{self.journal()}")

    def journal(self) -> str:
        """Return the last lines of the unit's log since it was started here, for a message."""
        lines = systemd.journal(self.unit, LOG_LINES, since_s=self.since)
        return f"\nlast lines of {self.unit}:\n{lines}" if lines else ""

    def show(self) -> dict[str, str]:
        return systemd.show([self.unit], PROPERTIES)[self.unit]

    def server(self) -> Server:
        return Server(self.wanted["url"], self.wanted["key_file"])

    def state(self, shown: dict[str, str]) -> dict[str, str]:
        """Return what a diff shows: the state of the unit and what its process runs."""
        found = process.running(main_pid(shown))
        return {
            "active": shown.get("ActiveState", ""),
            "enabled": shown.get("UnitFileState", "") or "disabled",
            "config": found.get("config", ""),
            "program": found.get("exe", ""),
        }

    def reasons(self, shown: dict[str, str]) -> list[str]:
        """Say why the process has to be started anew."""
        state = self.state(shown)
        if state["active"] != "active":
            return [f"the unit is {state['active'] or 'unknown'}"]
        found = []
        if state["config"] != self.wanted["config"]:
            found.append("it runs with another configuration")
        if state["program"] != os.path.realpath(self.wanted["program"]):
            found.append("it runs another build")
        started = process.started_at(main_pid(shown))
        newer = [path for path in self.wanted["models"] if process.changed_after(path, started)]
        newer += systemd.changed_since_start(shown, main_pid(shown))
        return found + [f"{path} was replaced after it started" for path in newer]

    def drain(self) -> None:
        """Wait until no request is being served: killing a decode can wedge the GPU."""
        server = self.server()
        deadline = time.monotonic() + self.wanted["drain_s"]
        while server.running_requests() and time.monotonic() < deadline:
            time.sleep(0.5)

    def wait_for_health(self) -> None:
        """Wait until the model is loaded, unless systemd gave up or the server keeps dying."""
        server = self.server()
        sizes = sum(os.path.getsize(path) for path in self.wanted["models"] if os.path.exists(path))
        limit_s = self.wanted["load_s"] + sizes / READ_BYTES_PER_S
        deadline = time.monotonic() + limit_s
        while (status := server.health()) != OK:
            shown = self.show()
            if shown.get("ActiveState") == "failed" or int(shown.get("NRestarts") or 0) >= RESTARTS_MAX:
                raise InstanceError(f"{self.unit} does not stay up ({shown.get('Result')}){self.journal()}")
            if time.monotonic() > deadline:
                raise InstanceError(f"{self.unit}: /health is {status} after {limit_s:.0f} s{self.journal()}")
            time.sleep(0.2)
        if problem := refusal(server, self.wanted["probe"], limit_s):
            raise InstanceError(f"{self.unit}: {problem}{self.journal()}")

    def present(self) -> dict[str, Any]:
        shown = self.show()
        before, reasons = self.state(shown), self.reasons(shown)
        after = {
            "active": "active",
            "enabled": "enabled",
            "config": self.wanted["config"],
            "program": os.path.realpath(self.wanted["program"]),
        }
        enable = before["enabled"] != "enabled"
        stale = shown.get("NeedDaemonReload") == "yes"
        result: dict[str, Any] = {"changed": bool(reasons) or enable or stale, "reasons": reasons}
        if result["changed"]:
            result["diff"] = {"before": before, "after": after}
        if self.module.check_mode:
            return result
        if before["enabled"].startswith("masked"):
            self.systemctl("unmask", "--", self.unit)
            self.systemctl("unmask", "--runtime", "--", self.unit)
        if stale or reasons or enable:
            self.systemctl("daemon-reload")
        if enable:
            self.systemctl("enable", "--quiet", "--", self.unit)
        return result | (self.restart() if reasons else self.healthy())

    def spell(self) -> None:
        """Have the builds here tell what they call the options that releases spell differently."""
        token = self.wanted.get("token")
        fence = [] if token is None else ["--token", str(token)]
        done = command.run([HOST_PROGRAM, "spell", *fence], SPELL_TIMEOUT_S)
        if done.code != 0:
            raise InstanceError(f"{HOST_PROGRAM} spell: {done.err.strip() or json.loads(done.out)['error']}")

    def restart(self) -> dict[str, Any]:
        """Start the process anew and have it prove itself."""
        if self.wanted["renamed"]:
            self.spell()
        self.drain()
        started, self.since = time.monotonic(), int(time.time())
        self.systemctl("reset-failed", "--", self.unit)
        self.systemctl("restart", "--", self.unit)
        remove_former_cache(self.wanted["name"])
        self.wait_for_health()
        left = self.reasons(self.show())
        if left:
            raise InstanceError(f"{self.unit} was restarted, and yet: {', '.join(left)}")
        return {"seconds": round(time.monotonic() - started, 1)}

    def healthy(self) -> dict[str, Any]:
        """Wait for a server that was left alone and may still be loading."""
        server = self.server()
        if server.health() != OK:
            self.wait_for_health()
        return {}

    def absent(self) -> dict[str, Any]:
        """Stop, disable, and remove our drop-in last: while it is there, the instance is known as ours."""
        shown = self.show()
        drop_in = f"{self.drop_ins}/10-strixfleet.conf"
        up = shown.get("ActiveState") in RUNNING or shown.get("UnitFileState") == "enabled"
        if not up and not os.path.exists(drop_in):
            return {"changed": False}
        if not self.module.check_mode:
            self.systemctl("disable", "--quiet", "--now", "--", self.unit)
            os.unlink(drop_in)
            if not os.listdir(self.drop_ins):
                os.rmdir(self.drop_ins)
            remove_cache(self.wanted["name"])
            self.systemctl("daemon-reload")
        before = self.state(shown)
        return {"changed": True, "diff": {"before": before, "after": {"active": "inactive"}}}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    instance = Instance(module)
    result: dict[str, Any] = {}
    try:
        if not module.check_mode:
            lock = os.open("/run/strixfleet-instances.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
        result = instance.present() if module.params["state"] == "present" else instance.absent()
    except InstanceError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=files.said_of(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
