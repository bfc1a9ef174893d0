"""Write the seed of a host: the layer over the base system with its keys, address and simulated box."""

import json
import os
import shutil
import uuid
from pathlib import Path

from strixfleet.sandbox.boxes import Sandbox, SandboxHost
from strixfleet.sandbox.machine_tools import run


UID = 1000  # the first user that useradd makes in the base system
RESOLVED_UPSTREAM = Path("/run/systemd/resolve/resolv.conf")


def write_seed(sandbox: Sandbox, host: SandboxHost, box: dict[str, object]) -> None:
    """Write all files that are specific to a host; a reset does not change them."""
    seed = host.folder / "seed"
    shutil.rmtree(seed, ignore_errors=True)
    for folder in ("etc/ssh", "etc/systemd/network", "etc/strixfleet-sandbox"):
        (seed / folder).mkdir(parents=True, exist_ok=True)
    files = {
        "etc/hostname": f"{host.name}\n",
        "etc/hosts": hosts_text(sandbox, host),
        "etc/machine-id": f"{uuid.uuid4().hex}\n",
        "etc/resolv.conf": resolv_conf(),
        "etc/strixfleet-sandbox/box.json": json.dumps(box, indent=1) + "\n",
        "etc/systemd/network/10-host0.network": network_text(sandbox, host),
    }
    for name, text in files.items():
        (seed / name).write_text(text, encoding="utf-8")
    run(["ssh-keygen", "-q", "-A", "-f", str(seed)])
    _authorise(seed, sandbox.ssh_key.with_suffix(".pub").read_text(encoding="utf-8"))
    seed.chmod(0o755)


def _authorise(seed: Path, public_key: str) -> None:
    ssh = seed / "home/strix/.ssh"
    ssh.mkdir(parents=True)
    (ssh / "authorized_keys").write_text(public_key, encoding="utf-8")
    (ssh / "authorized_keys").chmod(0o600)
    ssh.chmod(0o700)
    ssh.parent.chmod(0o700)
    for path in (ssh.parent, ssh, ssh / "authorized_keys"):
        os.chown(path, UID, UID)


def host_key_lines(host: SandboxHost) -> list[str]:
    """Return the known_hosts lines of a host, under the address that ssh connects to."""
    keys = sorted((host.folder / "seed/etc/ssh").glob("ssh_host_*_key.pub"))
    return [" ".join([host.address, *key.read_text(encoding="utf-8").split()[:2]]) for key in keys]


def hosts_text(sandbox: Sandbox, host: SandboxHost) -> str:
    """Return /etc/hosts with every host of the sandbox."""
    lines = ["127.0.0.1 localhost", f"127.0.1.1 {host.name}", "::1 localhost ip6-localhost ip6-loopback"]
    lines += [f"{other.address} {other.name}" for other in sandbox.hosts if other.name != host.name]
    return "\n".join(lines) + "\n"


def network_text(sandbox: Sandbox, host: SandboxHost) -> str:
    """Return networkd's unit, with which the guest has its address again after a reboot."""
    prefix = sandbox.subnet.rpartition("/")[2]
    return (
        f"[Match]\nName=host0\n\n[Network]\nAddress={host.address}/{prefix}\nGateway={sandbox.gateway}\n"
        "LinkLocalAddressing=no\nIPv6AcceptRA=no\nLLMNR=no\nMulticastDNS=no\n"
    )


def resolv_conf() -> str:
    """Return resolv.conf with this machine's name servers, or those that its systemd-resolved asks."""
    own = Path("/etc/resolv.conf")
    text = own.read_text(encoding="utf-8") if own.exists() else ""
    return RESOLVED_UPSTREAM.read_text(encoding="utf-8") if "127.0.0.53" in text else text
