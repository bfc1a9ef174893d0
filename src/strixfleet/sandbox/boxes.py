"""Describe a sandbox: its names, addresses, simulated box and inventory."""

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from strixfleet.inventory.hardware import BOXES, GIB, STRIX_HALO_PCI, Box


USER = "strix"
HARDWARE_ROOT = "/run/strixfleet-sandbox/hardware"
CCACHE_IN_GUEST = "/var/cache/strixfleet/ccache"
KERNEL_RELEASE = "6.18.9"
CARVE_OUT_BYTES = GIB // 2
MOST_HOSTS = 200
FIRST_HOST_OCTET = 11
NAME = re.compile(r"[a-z][a-z0-9-]{0,23}")
CANDIDATES = tuple(ipaddress.IPv4Network(f"10.231.{third}.0/24") for third in range(256))


@dataclass(frozen=True, slots=True)
class SandboxRequest:
    """What to create; `layer` names a saved state from which the hosts start instead of the base system."""

    name: str = "sandbox"
    hosts: int = 1
    box: str = "framework-desktop"
    memory_gib: int | None = None
    layer: str | None = None


@dataclass(frozen=True, slots=True)
class SandboxHost:
    """One host of a sandbox; `folder` is STATE/SANDBOX/hosts/HOST."""

    name: str
    address: str
    folder: Path

    @property
    def label(self) -> str:
        """Return the host's name on this machine, which differs between users."""
        return f"{self.name}-{_digest(self.folder.parents[2])}"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A created sandbox; `folder` is STATE/SANDBOX."""

    name: str
    folder: Path
    box: str
    subnet: str
    bridge: str
    hosts: tuple[SandboxHost, ...]

    @property
    def label(self) -> str:
        """Return the sandbox's name on this machine, which differs between users."""
        return f"{self.name}-{_digest(self.folder.parent)}"

    @property
    def inventory(self) -> Path:
        """Return the folder for `-i`."""
        return self.folder / "inventory"

    @property
    def ssh_key(self) -> Path:
        """Return the private key for all hosts."""
        return self.folder / "ssh_key"

    @property
    def ssh_config(self) -> Path:
        """Return the file for `ssh -F`."""
        return self.folder / "ssh_config"

    @property
    def known_hosts(self) -> Path:
        """Return the fleet's known_hosts file, with the hosts' keys."""
        return self.inventory / ".strixfleet" / "known_hosts"

    @property
    def gateway(self) -> str:
        """Return this machine's address in the sandbox's network."""
        return str(ipaddress.IPv4Network(self.subnet)[1])

    def host(self, name: str) -> SandboxHost:
        """Return one host by name."""
        return next(host for host in self.hosts if host.name == name)


def _digest(state_folder: Path) -> str:
    """Tell apart sandboxes with the same name in different state folders."""
    return hashlib.sha256(str(state_folder).encode()).hexdigest()[:6]


def mistakes_in(request: SandboxRequest, taken: Iterable[str]) -> list[str]:
    """List the mistakes in a request, each with a hint."""
    found = []
    if not NAME.fullmatch(request.name):
        found.append(
            f"{request.name!r} is not a valid name; hint: use a-z, 0-9 and -, at most 24, a letter first"
        )
    if request.name in taken:
        found.append(f"{request.name} exists already; hint: destroy it first, or choose another --name")
    if not 1 <= request.hosts <= MOST_HOSTS:
        found.append(f"{request.hosts} is not a valid number of hosts; hint: 1 to {MOST_HOSTS}")
    if request.box not in {box.name for box in BOXES}:
        found.append(f"box {request.box!r} is not known; hint: one of {', '.join(box.name for box in BOXES)}")
    return found


def free_subnet(taken: Iterable[str]) -> str | None:
    """Choose the first private network that is not in use; None if all are."""
    used = [ipaddress.IPv4Network(network, strict=False) for network in taken]
    free = (c for c in CANDIDATES if not any(c.overlaps(n) for n in used if n.prefixlen))
    return next((str(network) for network in free), None)


def host_address(subnet: str, number: int) -> str:
    """Return the address of host `number`, counted from 1."""
    return str(ipaddress.IPv4Network(subnet)[FIRST_HOST_OCTET - 1 + number])


def box_named(name: str) -> Box:
    """Return a known box."""
    return next(box for box in BOXES if box.name == name)


_DMI: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "framework-desktop": {
            "sys_vendor": "Framework",
            "product_name": "Desktop (AMD Ryzen AI Max 300 Series)",
            "product_family": "Desktop",
            "board_vendor": "Framework",
            "board_name": "FRANMFCP06",
            "bios_vendor": "INSYDE Corp.",
            "bios_version": "03.04",
            "bios_date": "11/19/2025",
        },
        "framework-13": {
            "sys_vendor": "Framework",
            "product_name": "Laptop 13 (AMD Ryzen AI 300 Series)",
            "product_family": "Laptop",
            "board_vendor": "Framework",
            "board_name": "FRANMGCP08",
            "bios_vendor": "INSYDE Corp.",
            "bios_version": "03.05",
            "bios_date": "10/30/2025",
        },
        "gmktec-evo-x2": {"sys_vendor": "GMKtec", "product_name": "NucBox_EVO-X2", "board_name": "GMKtec"},
        "bosgame-m5": {"sys_vendor": "BOSGAME", "product_name": "M5", "board_name": "AXB35-02"},
        "minisforum-ms-s1-max": {
            "sys_vendor": "Micro Computer (HK) Tech Limited",
            "product_name": "MS-S1 MAX",
        },
        "beelink-gtr9-pro": {"sys_vendor": "AZW", "product_name": "GTR9 Pro"},
        "amd-ryzen-ai-halo": {"sys_vendor": "AMD", "product_name": "Ryzen AI Halo"},
        "hp-zbook-ultra-g1a": {
            "sys_vendor": "HP",
            "product_name": "HP ZBook Ultra G1a 14 inch",
        },
        "hp-z2-mini-g1a": {"sys_vendor": "HP", "product_name": "HP Z2 Mini G1a Workstation Desktop PC"},
        "asus-rog-flow-z13": {
            "sys_vendor": "ASUSTeK COMPUTER INC.",
            "product_name": "ROG Flow Z13 GZ302EA",
        },
        "sixunited-axb35-02": {"sys_vendor": "Sixunited", "board_name": "AXB35-02"},
    }
)
_DMI_DEFAULTS = {
    "product_name": "",
    "board_vendor": "",
    "board_name": "",
    "product_family": "",
    "bios_vendor": "American Megatrends International, LLC.",
    "bios_version": "1.05",
    "bios_date": "06/10/2025",
}


def box_facts(name: str, memory_gib: int | None = None) -> dict[str, object]:
    """Return the content of /etc/strixfleet-sandbox/box.json: what a sandbox host simulates."""
    box = box_named(name)
    halo = box.pci_id == STRIX_HALO_PCI
    return {
        "box": box.name,
        "label": box.label,
        "dmi": _DMI_DEFAULTS | dict(_DMI[name]),
        "pci_id": box.pci_id,
        "memory_bytes": (memory_gib or box.memory_gib) * GIB,
        "carve_out_bytes": CARVE_OUT_BYTES,
        "kernel_release": KERNEL_RELEASE,
        "gfx_target_version": 110501 if halo else 110500,
        "simd_count": 80 if halo else 32,
    }


def inventory_text(sandbox: Sandbox) -> str:
    """
    Return inventory/hosts.yml: connections and simulated hardware, no other settings.

    Paths are written as JSON strings, so that YAML reads any character in them.
    """
    lines = [
        f"# Made by `strixfleet sandbox create`: hosts simulating {box_named(sandbox.box).label}.",
        "# Put settings into group_vars/strix.yml in this folder.",
        "strix:",
        "  hosts:",
    ]
    for host in sandbox.hosts:
        lines += [f"    {host.name}:", f"      ansible_host: {host.address}"]
    lines += [
        "  vars:",
        f"    ansible_user: {USER}",
        f"    ansible_ssh_private_key_file: {json.dumps(str(sandbox.ssh_key))}",
        "    ansible_python_interpreter: /usr/bin/python3",
        "    ansible_become: true",
        "    hardware_profile: sandbox",
        f"    sandbox_hardware_root: {HARDWARE_ROOT}",
    ]
    return "\n".join(lines) + "\n"


def ssh_config_text(sandbox: Sandbox) -> str:
    """Return the file for `ssh -F FILE HOST`, which accepts only the keys in the sandbox's known_hosts."""
    lines = [
        "Host *",
        f"  User {USER}",
        f'  IdentityFile "{sandbox.ssh_key}"',
        "  IdentitiesOnly yes",
        f'  UserKnownHostsFile "{sandbox.known_hosts}"',
        "  GlobalKnownHostsFile /dev/null",
        "  StrictHostKeyChecking yes",
    ]
    for host in sandbox.hosts:
        lines += [f"Host {host.name}", f"  HostName {host.address}"]
    return "\n".join(lines) + "\n"
