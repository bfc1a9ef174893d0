"""What an owner asks for later, on a real host that serves: another address, argument or backend."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from strixfleet.sandbox import lifecycle
from strixfleet.sandbox.boxes import HARDWARE_ROOT, Sandbox, SandboxRequest
from tests.conftest import ROOT, Run
from tests.host.outside import changed, picture, root
from tests.host.small import furnish


pytestmark = [pytest.mark.host, pytest.mark.build]
HOST = "wishes-1"
SERVED = {"name": "chat", "model": "tiny", "port": 8080, "context_size": 2048}
TAILNET = "100.101.102.103"
# Stands for a joined tailscaled: this machine has no tailnet.
JOINED = json.dumps({"BackendState": "Running", "Self": {"TailscaleIPs": [TAILNET]}})
JOIN = f"""
ip address add {TAILNET}/32 dev lo
printf '%s\\n' '#!/bin/sh' "echo '{JOINED.replace('"', chr(92) + '"')}'" >/usr/bin/tailscale
chmod 755 /usr/bin/tailscale
"""
HEALTH = "import urllib.request as u; print(u.urlopen('http://{}:8080/health', timeout=5).status)"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, strixfleet: Run) -> Iterator[Sandbox]:
    made = lifecycle.create(SandboxRequest(name="wishes", hosts=1))
    try:
        furnish(made, tmp_path_factory.mktemp("model"))
        done = strixfleet("provision", "-i", str(made.inventory), "--yes", "--reboot", "auto", timeout_s=3000)
        assert done.returncode in {0, 1}, done.stdout + done.stderr
        assert drifts(made, strixfleet) == {}
        yield made
    finally:
        lifecycle.destroy("wishes")


def wish(made: Sandbox, **settings: object) -> None:
    """Change the fleet's variables."""
    file = made.inventory / "group_vars" / "all.yml"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


def drifts(made: Sandbox, strixfleet: Run) -> dict[str, str]:
    """Return {item: cure} of what an audit names."""
    done = strixfleet("audit", "-i", str(made.inventory), "--json")
    rows = json.loads(done.stdout)["hosts"][HOST]["items"]
    return {row["id"]: row["cure"] for row in rows if row["status"] != "ok"}


def healthy(made: Sandbox, address: str) -> bool:
    return root(made, HOST, f'python3 -c "{HEALTH.format(address)}"').strip() == "200"


def test_an_argument_deleted_from_the_inventory_is_gone_after_a_reboot(
    served: Sandbox, strixfleet: Run
) -> None:
    again = ("provision", "-i", str(served.inventory), "--yes")
    wish(served, kernel_arguments={"amd_iommu": "off"})
    assert strixfleet(*again, "--reboot", "auto").returncode in {0, 1}
    assert drifts(served, strixfleet) == {}
    assert "amd_iommu=off" in root(served, HOST, f"cat {HARDWARE_ROOT}/proc/cmdline")

    wish(served, kernel_arguments={})
    strixfleet(*again)
    assert drifts(served, strixfleet) == {"kernel:removed_arguments": "reboot"}
    assert strixfleet(*again, "--reboot", "auto").returncode in {0, 1}

    assert drifts(served, strixfleet) == {}
    assert "amd_iommu" not in root(served, HOST, f"cat {HARDWARE_ROOT}/proc/cmdline")


def test_a_joined_host_is_served_on_loopback_and_the_tailnet(served: Sandbox, strixfleet: Run) -> None:
    root(served, HOST, JOIN)
    wish(served, llama_server_instances=[SERVED | {"host": "tailnet"}])
    done = strixfleet("provision", "-i", str(served.inventory), "--yes")

    assert done.returncode in {0, 1}, done.stdout + done.stderr
    assert drifts(served, strixfleet) == {}
    assert healthy(served, "127.0.0.1")
    assert healthy(served, TAILNET)
    listening = root(served, HOST, "ss -Hltn 'sport = 8080'").split("\n")
    assert {line.split()[3] for line in listening if line} == {"127.0.0.1:8080", f"{TAILNET}:8080"}

    before = picture(served, HOST)
    assert strixfleet("provision", "-i", str(served.inventory), "--yes").returncode in {0, 1}
    assert changed(before, picture(served, HOST)) == []


def test_another_backend_leaves_the_server_on_the_build_it_has(served: Sandbox, strixfleet: Run) -> None:
    current = "readlink /opt/strixfleet/llama.cpp/current"
    before = root(served, HOST, current)
    wish(served, llama_cpp_backend="vulkan")

    provisioned = strixfleet("provision", "-i", str(served.inventory), "--yes")
    upgraded = strixfleet("upgrade", "-i", str(served.inventory), "--yes")

    assert provisioned.returncode == 1, provisioned.stdout
    assert upgraded.returncode == 4, upgraded.stdout
    assert "backend" in upgraded.stdout + upgraded.stderr
    assert healthy(served, "127.0.0.1")
    assert root(served, HOST, current) == before
    assert root(served, HOST, "ls /var/lib/strixfleet").split().count("refused.json") == 0


RIVALS = {"power-profiles-daemon": "/usr/lib/systemd/system", "auto-cpufreq": "/etc/systemd/system"}
RIVAL = """[Unit]
Conflicts=tuned.service
[Service]
ExecStart=/usr/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""


def test_rival_power_daemons_end_wherever_their_unit_stands(served: Sandbox, strixfleet: Run) -> None:
    for name, folder in RIVALS.items():
        root(served, HOST, f"printf '{RIVAL.replace(chr(10), chr(92) + 'n')}' >{folder}/{name}.service")
    root(served, HOST, f"systemctl daemon-reload && systemctl enable --now {' '.join(RIVALS)}")
    before = drifts(served, strixfleet)
    assert before["tuning:rivals"] == "provision"

    assert strixfleet("provision", "-i", str(served.inventory), "--yes").returncode in {0, 1}

    after = drifts(served, strixfleet)
    assert not [name for name in after if name.startswith("tuning:")], after
    look = f"systemctl is-enabled {' '.join(RIVALS)} || true"
    assert root(served, HOST, look).split() == ["masked", "disabled"]
    assert root(served, HOST, "systemctl is-active tuned").strip() == "active"


def test_plain_ansible_playbook_takes_no_server_away_by_an_oversight(
    served: Sandbox, strixfleet: Run
) -> None:
    file = served.inventory / "group_vars" / "all.yml"
    kept = file.read_text()
    wish(served, llama_server_instances=[])
    try:
        done = plainly(served)
        assert done.returncode != 0
        assert "served here, but not in llama_server_instances: chat" in " ".join(done.stdout.split())
        assert healthy(served, "127.0.0.1")
    finally:
        file.write_text(kept)


def test_provision_waits_for_another_operator_and_changes_nothing(served: Sandbox, strixfleet: Run) -> None:
    program = "/opt/strixfleet/lib/strixfleet-host"
    root(served, HOST, f"{program} lock --owner ann --ttl 120; systemctl stop llama-server@chat")
    before = picture(served, HOST)
    try:
        done = strixfleet("provision", "-i", str(served.inventory), "--yes")
        assert done.returncode == 4
        assert f"{HOST}: locked by ann" in done.stderr
        assert changed(before, picture(served, HOST)) == []
    finally:
        root(served, HOST, f"{program} unlock --force; systemctl start llama-server@chat")


def plainly(made: Sandbox) -> subprocess.CompletedProcess[str]:
    """Provision as AWX does."""
    argv = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        *("-i", str(made.inventory), "playbooks/provision.yml"),
        *("--ssh-extra-args", f"-o UserKnownHostsFile={made.known_hosts}"),
    ]
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT, timeout=600)
