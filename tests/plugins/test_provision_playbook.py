"""What the playbook of AWX and schedulers refuses before it does anything, on hosts that are this machine."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.plugins.plain_playbook import HERE, NOWHERE, PROVISION, events, fleet, plain


EVENTS = "strixfleet.fleet.events"
OURS = {**HERE, "llama_cpp_ref": "b10991", "hardware_profile": "sandbox"}


def failures(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {one["host"]: one["message"] for one in events(done) if one["event"] == "failed"}


def touched(done: subprocess.CompletedProcess[str]) -> set[str]:
    """Name the hosts that anything was asked of or done to."""
    tasks = [one for one in events(done) if one["event"] in {"ok", "failed", "unreachable"}]
    return {one["host"] for one in tasks if one["task"] == "Compile the desired state"}


def test_a_host_without_variables_of_ours_is_left_out(tmp_path: Path) -> None:
    inventory = fleet(
        tmp_path, {"router": {**NOWHERE, "ntp_server": "x"}, "halo": {**NOWHERE, "llama_cpp_ref": "b10991"}}
    )

    done = plain(inventory, PROVISION, callback=EVENTS)

    assert touched(done) == {"halo"}
    left_out = [one["host"] for one in events(done) if "carries no variable" in one.get("task", "")]
    assert left_out == ["router"]


def test_extra_variables_make_no_host_ours(tmp_path: Path) -> None:
    inventory = fleet(tmp_path, {"router": NOWHERE})

    done = plain(inventory, PROVISION, "-e", "llama_cpp_ref=b10991", callback=EVENTS)

    assert done.returncode != 0
    assert touched(done) == set()
    assert "no host carries a variable of strixfleet" in failures(done)["router"]


def test_a_pattern_chooses_hosts(tmp_path: Path) -> None:
    inventory = fleet(tmp_path, {"one": NOWHERE, "two": NOWHERE}, llama_cpp_ref="b10991")

    done = plain(inventory, PROVISION, "-e", "strixfleet_hosts=two", callback=EVENTS)

    assert touched(done) == {"two"}


@pytest.mark.parametrize(
    ("name", "wish"), [("strixfleet_reboot", "yes"), ("strixfleet_reboot_due", "ignore")]
)
def test_a_wish_that_is_not_known_is_refused(tmp_path: Path, name: str, wish: str) -> None:
    done = plain(fleet(tmp_path, {"halo": OURS}), PROVISION, "-e", f"{name}={wish}", callback=EVENTS)

    assert f'{name}: "{wish}" is not a valid choice; hint: write' in failures(done)["halo"]
    assert touched(done) == set()


def test_hardware_that_is_not_recognised_is_refused_before_anything(tmp_path: Path) -> None:
    host = {
        **OURS,
        "hardware_profile": "auto",
        "sandbox_hardware_root": str(tmp_path),
        "ansible_become": False,
    }

    done = plain(fleet(tmp_path, {"halo": host}), PROVISION, callback=EVENTS)

    assert "the hardware is not recognised: no known GPU" in failures(done)["halo"]


@pytest.mark.parametrize(
    ("due", "wish", "fails"), [(True, "fail", True), (True, "report", False), (False, "fail", False)]
)
def test_a_reboot_that_is_due_does_not_end_green(tmp_path: Path, due: bool, wish: str, fails: bool) -> None:
    rows = yaml.safe_load((ROOT / "playbooks" / "tasks" / "finish.yml").read_text())
    row = {"id": "kernel:ttm.pages_limit", "cure": "reboot", "have": 1, "want": 2, "message": "m"}
    state = {"reboot_due": due, "differences": [row] if due else []}
    play = {
        "hosts": "all",
        "gather_facts": False,
        "vars": {"strixfleet_state": state, "strixfleet_reboot_due": wish},
        "tasks": [row for row in rows if "Fail where" in row["name"]],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))

    done = plain(fleet(tmp_path, {"halo": OURS}), tmp_path / "play.yml", callback=EVENTS)

    assert (done.returncode != 0) == fails
    assert ("kernel:ttm.pages_limit" in failures(done).get("halo", "")) == fails
