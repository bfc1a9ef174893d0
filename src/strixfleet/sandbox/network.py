"""
Create a bridge, forwarding and masquerade for each sandbox on this machine, and remove them again.

Docker and ufw drop unknown traffic in their own chains, and an accept rule in another table does not help. So
a rule for the bridge goes into those chains, with a comment by which it is found and removed.
"""

import contextlib
import json
from pathlib import Path
from typing import Any

from strixfleet.errors import SandboxError
from strixfleet.sandbox.boxes import Sandbox
from strixfleet.sandbox.machine_tools import has, run
from strixfleet.sandbox.sandbox_state import write_atomically


IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
# For this boot of the machine and the sandboxes of all users, so not in an XDG folder.
FORWARD_WAS = Path("/run/strixfleet/ip_forward_before")
TABLE_PREFIX = "strixfleet_"


def networks_in_use() -> list[str]:
    """List the networks that this machine has routes for."""
    routes = json.loads(run(["ip", "-4", "-j", "route", "show", "table", "all"]) or "[]")
    return [route["dst"] for route in routes if route.get("dst", "default") != "default"]


def set_up(sandbox: Sandbox) -> list[str]:
    """Create the sandbox's network; return what changed on this machine, in words."""
    changes = [f"bridge {sandbox.bridge} with {sandbox.gateway}", f"nft table ip {table_of(sandbox)}"]
    if IP_FORWARD.read_text(encoding="ascii").strip() != "1":
        write_atomically(FORWARD_WAS, IP_FORWARD.read_text(encoding="ascii"))
        IP_FORWARD.write_text("1\n", encoding="ascii")
        changes.append("net.ipv4.ip_forward=1")
    run(["ip", "link", "add", sandbox.bridge, "type", "bridge"])
    run(
        [
            "ip",
            "address",
            "add",
            f"{sandbox.gateway}/{sandbox.subnet.rpartition('/')[2]}",
            "dev",
            sandbox.bridge,
        ]
    )
    run(["ip", "link", "set", sandbox.bridge, "up"])
    run(["nft", "-f", "-"], stdin=_table_text(sandbox))
    return changes + _accept_in_foreign_chains(sandbox)


def tear_down(sandbox: Sandbox) -> None:
    """Remove a sandbox's network, or what is left of it."""
    if f"ip {table_of(sandbox)}" in _nft_tables():
        run(["nft", "delete", "table", "ip", table_of(sandbox)])
    _remove_from_foreign_chains(_comment(sandbox))
    if Path("/sys/class/net", sandbox.bridge).exists():
        run(["ip", "link", "delete", sandbox.bridge])


def restore_forwarding() -> None:
    """Restore ip_forward when the last sandbox is gone."""
    if FORWARD_WAS.exists() and not any(f"ip {TABLE_PREFIX}" in table for table in _nft_tables()):
        IP_FORWARD.write_text(FORWARD_WAS.read_text(encoding="ascii"), encoding="ascii")
        FORWARD_WAS.unlink()
        with contextlib.suppress(OSError):
            FORWARD_WAS.parent.rmdir()


def table_of(sandbox: Sandbox) -> str:
    """Return the name of a sandbox's nft table; sandbox names have no underscore, so it is unique."""
    return f"{TABLE_PREFIX}{sandbox.label.replace('-', '_')}"


def bridge_of(name: str, taken: set[str]) -> str:
    """Choose a bridge name within the 15 characters that Linux allows."""
    candidates = (f"sf-{name[: 12 - len(str(n))]}{n or ''}" for n in range(1000))
    return next(bridge for bridge in candidates if bridge not in taken)


def links_in_use() -> set[str]:
    """List this machine's network links."""
    return {path.name for path in Path("/sys/class/net").iterdir()}


def _table_text(sandbox: Sandbox) -> str:
    return (
        f"table ip {table_of(sandbox)} {{\n"
        "  chain postrouting {\n    type nat hook postrouting priority srcnat; policy accept;\n"
        f'    ip saddr {sandbox.subnet} oifname != "{sandbox.bridge}" masquerade\n  }}\n}}\n'
    )


def _nft_tables() -> list[str]:
    return [line.removeprefix("table ") for line in run(["nft", "list", "tables"]).splitlines()]


def _comment(sandbox: Sandbox) -> str:
    return f"strixfleet sandbox {sandbox.label}"


def _accept_in_foreign_chains(sandbox: Sandbox) -> list[str]:
    changes = []
    if _iptables_forward_is_filtered():
        for flag in ("-i", "-o"):
            run(["iptables", "-w", "-I", "FORWARD", *_iptables_rule(flag, sandbox.bridge, _comment(sandbox))])
        changes.append(f"iptables FORWARD accepts {sandbox.bridge}")
    for chain in _filtering_nft_chains():
        for key in ("iifname", "oifname"):
            rule = [key, f'"{sandbox.bridge}"', "accept", "comment", f'"{_comment(sandbox)}"']
            run(["nft", "insert", "rule", *chain, *rule])
        changes.append(f"nft chain {' '.join(chain)} accepts {sandbox.bridge}")
    return changes


def _iptables_rule(flag: str, bridge: str, comment: str) -> list[str]:
    return [flag, bridge, "-m", "comment", "--comment", comment, "-j", "ACCEPT"]


def _iptables_forward_is_filtered() -> bool:
    if not has("iptables"):
        return False
    try:
        return run(["iptables", "-w", "-S", "FORWARD"]).strip() != "-P FORWARD ACCEPT"
    except SandboxError:  # installed, but not supported by this kernel
        return False


def _nft_objects() -> list[dict[str, Any]]:
    listing: list[dict[str, Any]] = json.loads(run(["nft", "-j", "list", "ruleset"]))["nftables"]
    return listing


def _filtering_nft_chains() -> list[tuple[str, str, str]]:
    """List filter chains at the forward hook, except those that the iptables program handles."""
    return [
        (chain["family"], chain["table"], chain["name"])
        for entry in _nft_objects()
        if (chain := entry.get("chain", {})).get("hook") == "forward"
        and chain["family"] in {"ip", "inet"}
        and chain.get("type") == "filter"
        and not (has("iptables") and (chain["family"], chain["table"]) == ("ip", "filter"))
    ]


def _remove_from_foreign_chains(comment: str) -> None:
    if has("iptables"):
        for line in _iptables_lines():
            if f'--comment "{comment}"' in line:
                flag, bridge = line.split()[2:4]
                run(["iptables", "-w", "-D", "FORWARD", *_iptables_rule(flag, bridge, comment)])
    for entry in _nft_objects():
        rule = entry.get("rule", {})
        if rule.get("comment") == comment:
            where = [rule["family"], rule["table"], rule["chain"]]
            run(["nft", "delete", "rule", *where, "handle", str(rule["handle"])])


def _iptables_lines() -> list[str]:
    try:
        return run(["iptables", "-w", "-S", "FORWARD"]).splitlines()
    except SandboxError:
        return []
