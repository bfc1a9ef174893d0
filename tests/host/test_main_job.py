"""The main job on a real host: from nothing to serving, again without a change, and back from every drift."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Run
from tests.host.conftest import Demo
from tests.host.outside import changed, picture, reboot, root


pytestmark = [pytest.mark.host, pytest.mark.build, pytest.mark.quiet]


def test_demo_ends_well(demo: Demo) -> None:
    assert demo.done.returncode == 0, demo.done.stdout + demo.done.stderr
    assert "simulated" in demo.done.stdout
    assert Path(demo.printed("Report")).read_text().startswith("<!DOCTYPE html>")


def test_printed_endpoint_generates(demo: Demo) -> None:
    """The line that the demo prints is typed as it stands."""
    done = subprocess.run(
        ["bash", "-c", demo.printed("Try it")], capture_output=True, text=True, check=False, timeout=120
    )

    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["tokens_predicted"] == 16


def test_second_and_third_run_change_nothing(demo: Demo, strixfleet: Run) -> None:
    before = picture(demo.made, demo.host)

    for _ in range(2):
        done = strixfleet("provision", "-i", demo.inventory, "--yes", "--reboot", "auto")
        assert done.returncode == 0, done.stdout + done.stderr

    assert changed(before, picture(demo.made, demo.host)) == []


def test_plain_ansible_playbook_changes_nothing_either(demo: Demo) -> None:
    """The roles themselves run here: `provision` would not have called them."""
    before = picture(demo.made, demo.host)

    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            *("-i", demo.inventory, "playbooks/provision.yml"),
            *("--ssh-extra-args", f"-o UserKnownHostsFile={demo.made.known_hosts}"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=600,
    )

    assert done.returncode == 0, done.stdout
    assert "Bring the servers up" in done.stdout
    assert [task for task in done.stdout.split("TASK ")[1:] if "\nchanged:" in task] == []
    assert changed(before, picture(demo.made, demo.host)) == []


MUTATIONS = {
    "kernel": "echo '# by hand' >> /etc/default/grub.d/zz-strixfleet.cfg",
    "gpu_stack": "gpasswd -d strixfleet render",
    "tuning": "tuned-adm profile balanced",
    "llama_models": "chmod 0600 /var/lib/strixfleet/models/demo/*.gguf",
    "llama_server": "systemctl stop llama-server@demo",
    "llama_cpp": "printf X >> /opt/strixfleet/llama.cpp/current/bin/llama-bench",
}


def triangle(demo: Demo, strixfleet: Run, aspects: set[str]) -> None:
    """One thing an aspect is changed by hand: the audit names these, provision brings every byte back."""
    clean = picture(demo.made, demo.host, moments=False)
    for aspect in aspects:
        root(demo.made, demo.host, MUTATIONS[aspect])

    audit = strixfleet("audit", "-i", demo.inventory, "--json")
    rows = json.loads(audit.stdout)["hosts"][demo.host]["items"]
    named = {row["id"].split(":")[0] for row in rows if row["status"] != "ok"}
    mended = strixfleet("provision", "-i", demo.inventory, "--yes")

    assert audit.returncode == 1
    assert named == aspects
    assert mended.returncode in {0, 1}, mended.stdout + mended.stderr
    again = strixfleet("audit", "-i", demo.inventory)
    assert again.returncode == 0, again.stdout
    assert changed(clean, picture(demo.made, demo.host, moments=False)) == []


def test_triangle(demo: Demo, strixfleet: Run) -> None:
    triangle(demo, strixfleet, set(MUTATIONS))


@pytest.mark.soak
@pytest.mark.parametrize("aspect", MUTATIONS)
def test_triangle_of_one_aspect(demo: Demo, strixfleet: Run, aspect: str) -> None:
    triangle(demo, strixfleet, {aspect})


def test_service_survives_a_reboot(demo: Demo, strixfleet: Run) -> None:
    reboot(demo.made, demo.host)

    assert root(demo.made, demo.host, "systemctl is-active llama-server@demo").strip() == "active"
    done = strixfleet("audit", "-i", demo.inventory)
    assert done.returncode == 0, done.stdout
