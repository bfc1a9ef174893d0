"""When a play probes a host: never where its state was handed on, again only after something changed."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2.nativetypes import NativeEnvironment

from tests.conftest import ROOT
from tests.plugins.test_in_ansible import ansible, interpreter


__all__ = ["interpreter"]

STATE = {"deeds": {"kernel": {}}, "applied_stale": False, "differences": [], "problems": []}
UNCHANGED: dict[str, Any] = {
    "ansible_check_mode": False,
    "strixfleet_states": "file",
    "strixfleet_state": STATE,
    "__gpu_stack_applied": {"changed": False},
    "__kernel_applied": {"changed": False},
    "__kernel_deeds": {},
    "__strixfleet_servers_differ": False,
}
DIFFERS = UNCHANGED | {"strixfleet_state": STATE | {"differences": [{"id": "tuning:tuned"}]}}
BY_PLAYBOOK = {name: value for name, value in UNCHANGED.items() if name != "strixfleet_states"}
COMPILE = "strixfleet.fleet.compile"


def tasks_of(document: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - YAML
    """Return all tasks below plays, blocks and lists."""
    if isinstance(document, list):
        return [task for one in document for task in tasks_of(one)]
    parts = [document.get(name) or [] for name in ("tasks", "block", "pre_tasks", "post_tasks")]
    return [document, *(task for part in parts for task in tasks_of(part))]


def again(variables: dict[str, Any]) -> list[str]:
    """Return the tasks of provision that compile again under these variables, in the order of the play."""
    environment = NativeEnvironment()
    environment.tests["changed"] = lambda answer: answer["changed"]
    found = []
    for name in ("provision.yml", "tasks/reboot.yml", "tasks/finish.yml"):
        for task in tasks_of(yaml.safe_load((ROOT / "playbooks" / name).read_text())):
            expression = (task.get(COMPILE) or {}).get("again", "{{ false }}")
            if COMPILE in task and environment.from_string(expression).render(variables):
                found.append(task["name"])
    return found


REBOOTED = "Look again"  # below a reboot alone: the block asks for one
FIRST = "Compile for the kernel that the first play installed"
KERNEL = "See whether a reboot is due"
SETTLED = "Compile what build, servers and tailnet membership settled"
LEFT = "Look at what is left"


@pytest.mark.parametrize(
    ("variables", "tasks"),
    [
        (UNCHANGED, [REBOOTED]),
        (DIFFERS, [REBOOTED, SETTLED]),
        (UNCHANGED | {"strixfleet_state": STATE | {"applied_stale": True}}, [REBOOTED, SETTLED]),
        (UNCHANGED | {"__gpu_stack_applied": {"changed": True}}, [FIRST, REBOOTED]),
        (UNCHANGED | {"__kernel_applied": {"changed": True}}, [KERNEL, REBOOTED]),
        (UNCHANGED | {"__kernel_deeds": {"regenerate": [{}]}}, [KERNEL, REBOOTED]),
        (BY_PLAYBOOK, [REBOOTED, SETTLED]),
        (BY_PLAYBOOK | {"__strixfleet_servers_differ": True}, [REBOOTED, SETTLED, LEFT]),
        (DIFFERS | {"ansible_check_mode": True, "__kernel_applied": {"changed": True}}, []),
    ],
)
def test_a_play_compiles_again_only_after_something_changed(
    variables: dict[str, Any], tasks: list[str]
) -> None:
    assert again(variables) == tasks


def test_the_second_look_belongs_to_a_reboot() -> None:
    document = yaml.safe_load((ROOT / "playbooks/tasks/reboot.yml").read_text())
    block = next(task for task in document if "block" in task)
    assert "strixfleet_state.reboot_due" in block["when"]
    assert REBOOTED in [task["name"] for task in block["block"]]


def test_roles_compile_only_where_no_play_did() -> None:
    for path in sorted(ROOT.glob("roles/*/tasks/*.yml")):
        for task in tasks_of(yaml.safe_load(path.read_text())):
            if COMPILE in task:
                assert task["when"] == "strixfleet_state is not defined", path


@pytest.mark.parametrize(("wanted", "probes"), [("false", False), ("true", True)])
def test_a_state_that_was_handed_on_needs_nothing_of_the_host(
    tmp_path: Path, interpreter: Path, wanted: str, probes: bool
) -> None:
    states = tmp_path / "states.json"
    states.write_text(json.dumps({"localhost": STATE | {"boot_id": "handed-on"}}))
    words = ["-a", f"again={wanted}", "-e", f"strixfleet_states={states}"]
    answer = ansible(tmp_path, interpreter, "-m", COMPILE, *words)
    assert "SUCCESS" in answer
    assert "handed-on" not in answer  # what was compiled holds secrets
    assert (tmp_path / "started").exists() is probes


def test_a_state_of_another_host_is_not_taken(tmp_path: Path, interpreter: Path) -> None:
    states = tmp_path / "states.json"
    states.write_text(json.dumps({"another": STATE}))
    ansible(tmp_path, interpreter, "-m", COMPILE, "-e", f"strixfleet_states={states}")
    assert (tmp_path / "started").exists()
