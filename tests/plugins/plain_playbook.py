"""Run a playbook with plain ansible-playbook, as AWX does, on this machine or on hosts that do not answer."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from strixfleet.tools.ansible_playbook import EVENT, collections_path
from tests.conftest import ROOT


PROVISION = ROOT / "playbooks" / "provision.yml"
HERE = {"ansible_connection": "local"}
NOWHERE = {"ansible_host": "127.0.0.1", "ansible_port": 1}  # nothing listens there


def fleet(folder: Path, hosts: Mapping[str, Any], **variables: object) -> Path:
    """Write an inventory of hosts and of variables that all of them carry."""
    made = folder / "inventory"
    (made / "group_vars").mkdir(parents=True)
    (made / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": dict(hosts)}}))
    (made / "group_vars" / "all.yml").write_text(yaml.safe_dump(variables))
    return made


def plain(
    inventory: Path, playbook: Path, *words: str, callback: str = "ansible.builtin.default"
) -> subprocess.CompletedProcess[str]:
    """Run a playbook."""
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith("ANSIBLE_")},
        "ANSIBLE_COLLECTIONS_PATH": str(collections_path()),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "ANSIBLE_HOME": str(inventory.parent / "home"),
        "ANSIBLE_STDOUT_CALLBACK": callback,
        "LC_ALL": "C.UTF-8",
    }
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    return subprocess.run(
        [program, "-i", str(inventory), str(playbook), *words],
        cwd=inventory.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def tasks(folder: Path, *rows: Mapping[str, object]) -> Path:
    """Write a playbook of these tasks for all hosts."""
    made = folder / "play.yml"
    made.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": list(rows)}]))
    return made


def events(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Return what the callback of ours said of a run with `callback="strixfleet.fleet.events"`."""
    lines = [line for line in done.stdout.splitlines() if line.startswith(EVENT)]
    return [json.loads(line.removeprefix(EVENT)) for line in lines]
