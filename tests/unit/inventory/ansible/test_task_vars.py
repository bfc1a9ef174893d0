"""A play's variables are checked like an inventory's, under plain ansible-playbook, too."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from strixfleet.errors import InventoryError, MistakeCode
from strixfleet.inventory.ansible.task_vars import host_from_vars, name_mistakes
from strixfleet.tools.ansible_playbook import collections_path


PIN = {"llama_cpp_ref": "b10991"}


def mistakes_of(variables: Mapping[str, Any]) -> list[tuple[MistakeCode, str, str]]:
    from ansible.parsing.dataloader import DataLoader

    with pytest.raises(InventoryError) as caught:
        host_from_vars("h1", variables, DataLoader())
    return [(one.code, one.field, one.hint) for one in caught.value.mistakes]


@pytest.mark.parametrize(
    ("name", "meant"),
    [("kernel_gtt_gb", "kernel_gtt_gib"), ("llama_server_instance", "llama_server_instances")],
)
def test_a_misspelt_name_is_refused(name: str, meant: str) -> None:
    found = mistakes_of({**PIN, name: []})
    assert found == [(MistakeCode.UNKNOWN_NAME, name, f"write {meant}")]


def test_all_mistakes_are_reported_together() -> None:
    variables = {"lama_cpp_ref": "b1", "kernel_gtt_gib": "lots", "tailscale_hostname": "{{ nowhere"}
    assert {field for _, field, _ in mistakes_of(variables)} == {*variables}


def test_foreign_names_are_warnings() -> None:
    from ansible.parsing.dataloader import DataLoader

    variables = {**PIN, "tailscale_authkey": "x", "kernel_cmdline": "y", "ansible_hots": "z", "my_own": 1}
    assert host_from_vars("h1", variables, DataLoader()).settings.llama_cpp_ref == "b10991"
    found = [(one.field, one.warning) for one in name_mistakes("h1", variables)]
    assert found == [("tailscale_authkey", True), ("kernel_cmdline", True)]


@pytest.mark.parametrize(
    ("variables", "python"),
    [
        ({}, None),
        ({"ansible_python_interpreter": "/opt/python3"}, "/opt/python3"),
        ({"ansible_python_interpreter": "auto_silent"}, None),
        ({"ansible_facts": {"discovered_interpreter_python": "/usr/bin/python3.13"}}, "/usr/bin/python3.13"),
    ],
)
def test_the_interpreter_is_the_named_one_or_the_one_that_ansible_found(
    variables: dict[str, Any], python: str | None
) -> None:
    from ansible.parsing.dataloader import DataLoader

    assert host_from_vars("h1", {**PIN, **variables}, DataLoader()).connection.python == python


def test_variables_of_roles_are_not_judged() -> None:
    from ansible._internal._datatag._tags import Origin

    name = Origin(path="/srv/roles/kernel/defaults/main.yml", line_num=2).tag("kernel_argument")
    assert list(name_mistakes("h1", {name: 1})) == []


def play(folder: Path, variables: str) -> subprocess.CompletedProcess[str]:
    """Compile with plain ansible-playbook on this machine."""
    (folder / "hosts.yml").write_text("all:\n  hosts:\n    h1: {ansible_connection: local}\n")
    (folder / "group_vars").mkdir()
    (folder / "group_vars" / "all.yml").write_text(f"hardware_profile: sandbox\n{variables}")
    task = "{name: Compile, strixfleet.fleet.compile: {}, no_log: true}"
    (folder / "play.yml").write_text(f"- {{hosts: all, gather_facts: false, tasks: [{task}]}}\n")
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith("ANSIBLE_")},
        "ANSIBLE_COLLECTIONS_PATH": str(collections_path()),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "LC_ALL": "C.UTF-8",
    }
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    return subprocess.run(
        [program, "-i", "hosts.yml", "play.yml"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_plain_ansible_playbook_refuses_a_misspelt_name(tmp_path: Path) -> None:
    done = play(tmp_path, "llama_cpp_ref: b10991\nllama_server_instance: []\n")
    assert done.returncode == 2
    said = " ".join((done.stdout + done.stderr).split())
    assert "all.yml:3: h1: llama_server_instance: is not known; hint: write llama_server_instances" in said


def test_plain_ansible_playbook_warns_of_a_foreign_name(tmp_path: Path) -> None:
    done = play(tmp_path, "llama_cpp_ref: b10991\ntailscale_authkey: x\n")
    assert done.returncode == 0, done.stdout + done.stderr
    said = " ".join((done.stdout + done.stderr).split())
    assert "tailscale_authkey: is not a variable of strixfleet" in said
