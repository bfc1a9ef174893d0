"""The network part in a namespace of its own: foreign firewalls let the bridge through until it is gone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


pytestmark = pytest.mark.host

SCRIPT = """
import json, sys
from pathlib import Path
from strixfleet.sandbox import network
from strixfleet.sandbox.machine_tools import run
from strixfleet.sandbox.boxes import Sandbox

def state():
    files = [str(p) for p in Path("/run").rglob("*")]
    links = sorted(network.links_in_use())
    return [network.IP_FORWARD.read_text(), run(["nft", "-s", "list", "ruleset"]), links, files, iptables()]

def iptables():
    rules = Path(sys.argv[1])
    return rules.read_text() if rules.exists() else ""

sandbox = Sandbox("a-b", Path("/nowhere/a-b"), "framework-desktop", "10.231.7.0/24", "sf-a-b", ())
other = Sandbox("a", Path("/nowhere/a"), "framework-desktop", "10.231.8.0/24", "sf-a", ())
before = state()
said = network.set_up(sandbox)
network.set_up(other)
during = state()
network.tear_down(other)
network.restore_forwarding()
between = state()
for _twice in range(2):
    network.tear_down(sandbox)
    network.restore_forwarding()
print(json.dumps({"before": before, "said": said, "during": during, "between": between, "after": state()}))
"""
FIREWALL = """
table inet guard {
  chain forward { type filter hook forward priority filter; policy drop;
    ct state established accept; }
  chain out { type filter hook output priority filter; policy accept; }
}
"""
FAKE_IPTABLES = """#!/bin/sh
# Keeps the FORWARD chain in a file, as far as the sandbox uses it.
rules=@RULES@
rule() {
    line="-A FORWARD"
    for word; do case $word in *\\ *) word="\\"$word\\"";; esac; line="$line $word"; done
    echo "$line"
}
shift  # -w
case $1 in
-S) cat "$rules";;
-I) shift 2; { head -1 "$rules"; rule "$@"; tail -n +2 "$rules"; } >"$rules.new"; mv "$rules.new" "$rules";;
-D) shift 2; grep -qxF -- "$(rule "$@")" "$rules" || exit 1
    grep -vxF -- "$(rule "$@")" "$rules" >"$rules.new"; mv "$rules.new" "$rules";;
esac
"""


def observe(tmp_path: Path, firewall: str = "", path: str = "") -> dict[str, list[object]]:
    """Set a sandbox's network up and down in a new network namespace, with a /run and a /sys of its own.

    The machine's /sys would show the machine's links, also those that other tests make and remove meanwhile.
    """
    steps = (
        "mount -t tmpfs tmpfs /run",
        "mount -t sysfs sysfs /sys",
        "ip link set lo up",
        "echo 0 >/proc/sys/net/ipv4/ip_forward",
    )
    prepare = " && ".join([*steps, "printf '%s' \"$1\" | nft -f -", "shift", 'exec "$@"'])
    argv = ["unshare", "--net", "--mount", "sh", "-c", prepare, "prepare", firewall]
    argv += [sys.executable, "-c", SCRIPT, str(tmp_path / "rules")]
    environment = os.environ | {"PATH": f"{path}:{os.environ['PATH']}"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    seen: dict[str, list[object]] = json.loads(done.stdout)
    return seen


def test_forwarding_tables_and_links_are_as_before(tmp_path: Path) -> None:
    seen = observe(tmp_path)
    assert seen["before"][0] == "0\n"
    assert seen["during"][0] == "1\n"
    assert "masquerade" in str(seen["during"][1])
    assert seen["during"][2] == ["lo", "sf-a", "sf-a-b"]
    assert seen["between"][0] == "1\n", "the other sandbox still forwards"
    assert "strixfleet_a_b" in str(seen["between"][1])
    assert seen["after"] == seen["before"]


def test_what_changes_on_the_machine_is_said(tmp_path: Path) -> None:
    said = " ".join(map(str, observe(tmp_path, FIREWALL)["said"]))
    assert "net.ipv4.ip_forward=1" in said
    assert "strixfleet_a_b" in said
    assert "inet guard forward accepts sf-a-b" in said


def test_a_dropping_nft_chain_lets_the_bridge_through_until_destroy(tmp_path: Path) -> None:
    seen = observe(tmp_path, FIREWALL)
    during = str(seen["during"][1])
    assert 'iifname "sf-a-b" accept comment "strixfleet sandbox a-b-001471"' in during
    assert 'oifname "sf-a-b" accept comment "strixfleet sandbox a-b-001471"' in during
    assert '"sf-a-b" accept' in str(seen["between"][1]), "removing sandbox a leaves sandbox a-b alone"
    assert '"sf-a" accept' not in str(seen["between"][1])
    assert seen["after"] == seen["before"]


@pytest.mark.parametrize("policy", ["-P FORWARD DROP", "-P FORWARD ACCEPT\n-A FORWARD -j ufw-before-forward"])
def test_iptables_lets_the_bridge_through_until_destroy(tmp_path: Path, policy: str) -> None:
    (tmp_path / "rules").write_text(policy + "\n")
    program = tmp_path / "iptables"
    program.write_text(FAKE_IPTABLES.replace("@RULES@", str(tmp_path / "rules")))
    program.chmod(0o755)
    seen = observe(tmp_path, path=str(tmp_path))
    assert '-A FORWARD -i sf-a-b -m comment --comment "strixfleet sandbox a-b-001471" -j ACCEPT' in str(
        seen["during"][4]
    )
    assert "sf-a-b" in str(seen["between"][4])
    assert "sf-a " not in str(seen["between"][4])
    assert seen["after"] == seen["before"]
