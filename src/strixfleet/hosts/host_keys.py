"""The fleet's own known_hosts: what keys a host shows, and which of them are enrolled."""

import base64
import hashlib
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from strixfleet.errors import Unreachable
from strixfleet.inventory.ansible.host_key_options import NO_SHARED_CONNECTION
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.on_host import files


SCAN_TIMEOUT_S = 8


@dataclass(frozen=True, slots=True, order=True)
class HostKey:
    """One public key, as a line of known_hosts has it."""

    kind: str
    blob: str

    @property
    def fingerprint(self) -> str:
        """Return what `ssh-keygen -l` prints on the host's console."""
        digest = hashlib.sha256(base64.b64decode(self.blob)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def lookup_name(connection: Connection) -> str:
    """Return the name under which ssh looks a key up: `address`, or `[address]:port`, or an alias."""
    if connection.host_key_alias:
        return connection.host_key_alias
    if connection.port == 22:  # noqa: PLR2004 - ssh's own port
        return connection.address
    return f"[{connection.address}]:{connection.port}"


def enrolled(known_hosts: Path, connection: Connection) -> frozenset[HostKey]:
    """Return the keys that are enrolled for a host."""
    if not known_hosts.exists():
        return frozenset()
    name = lookup_name(connection)
    rows = (line.split() for line in known_hosts.read_text(encoding="utf-8").splitlines())
    return frozenset(HostKey(row[1], row[2]) for row in rows if len(row) >= 3 and name in row[0].split(","))  # noqa: PLR2004


def offered(host: Host) -> frozenset[HostKey]:
    """Ask a host for its keys; nothing is authenticated and nothing is trusted by asking."""
    text = _scan_behind_jump(host) if host.connection.proxied else _scan(host)
    rows = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    keys = frozenset(HostKey(row[1], row[2]) for row in rows if len(row) >= 3)  # noqa: PLR2004
    if not keys:
        place = f"{host.connection.address}:{host.connection.port}"
        raise Unreachable(f"no SSH server answered at {place}", where=host.name)
    return keys


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def _scan(host: Host) -> str:
    address = host.connection.address
    if not re.fullmatch(r"[\w.:%-]+", address) or address.startswith("-"):
        raise Unreachable(f"{address!r} is no address", where=host.name)
    return _run(["ssh-keyscan", "-T", str(SCAN_TIMEOUT_S), "-p", str(host.connection.port), address]).stdout


def _scan_behind_jump(host: Host) -> str:
    """Let ssh exchange keys through the jump host, offering no way to log in, and keep what it noted."""
    with tempfile.TemporaryDirectory() as folder:
        noted = Path(folder) / "known_hosts"
        _run(
            [
                *("ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new"),
                *("-o", f"UserKnownHostsFile={noted}", "-o", "GlobalKnownHostsFile=/dev/null"),
                *("-o", "KnownHostsCommand=none", *NO_SHARED_CONNECTION),
                *("-o", "PreferredAuthentications=none", "-o", "HashKnownHosts=no"),
                *("-o", f"ConnectTimeout={SCAN_TIMEOUT_S}", "-p", str(host.connection.port)),
                *host.connection.ssh_common_args,
                *("--", host.connection.ssh_name or host.connection.address, "true"),
            ]
        )
        return noted.read_text(encoding="utf-8") if noted.exists() else ""


def enrol(known_hosts: Path, connection: Connection, keys: frozenset[HostKey]) -> None:
    """Write a host's keys in place of those it had; the file is replaced whole."""
    name = lookup_name(connection)
    known_hosts.parent.mkdir(parents=True, exist_ok=True)
    lines = known_hosts.read_text(encoding="utf-8").splitlines() if known_hosts.exists() else []
    kept = [line for line in lines if name not in line.split(" ", 1)[0].split(",")]
    kept += [f"{name} {key.kind} {key.blob}" for key in sorted(keys)]
    draft = str(known_hosts.with_name(f".known_hosts-{os.getpid()}"))
    files.write(str(known_hosts), "".join(f"{line}\n" for line in kept).encode(), draft=draft)
