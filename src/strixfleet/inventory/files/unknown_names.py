"""Names that strixfleet does not read: misspelt ones, those of other roles, files of no group or host."""

from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache

from strixfleet.errors import Mistake, MistakeCode
from strixfleet.inventory.ansible.connection_variables import ALL_NAMES
from strixfleet.inventory.files.folder_scan import InventoryFile
from strixfleet.inventory.schema.field_types import quoted
from strixfleet.inventory.schema.fleet_model import Host, Origin
from strixfleet.inventory.schema.problems import Problem
from strixfleet.inventory.schema.settings import FIELDS
from strixfleet.inventory.schema.spelling import SLIP_LIKENESS_MIN, nearest


PREFIXES = (
    "audit_waivers",
    "gpu_stack_",
    "hardware_profile",
    "kernel_",
    "llama_cpp_",
    "llama_models_",
    "llama_server_",
    "rollout_",
    "smoke_bench",
    "tailscale_",
    "tuning_",
)
FOREIGN_NAMES = frozenset({"tailscale_args", "tailscale_authkey"})  # of artis3n.tailscale, close to ours
# Ansible's own, close to names that are read here.
OTHER_CONNECTION_NAMES = frozenset({"ansible_scp_extra_args", "ansible_sftp_extra_args"})


@lru_cache(maxsize=4096)
def judge_name(name: str) -> Problem | None:
    """Return what is wrong with a variable's name: close to one of ours, or foreign under our prefix."""
    if name in FIELDS:
        return None
    if name.startswith("ansible_"):
        return _judge_connection_name(name)
    close = nearest(name, FIELDS, SLIP_LIKENESS_MIN)
    if close and name not in FOREIGN_NAMES:
        return Problem((name,), "is not known", f"write {close}", code=MistakeCode.UNKNOWN_NAME)
    if close or name.lower().replace("-", "_").startswith(PREFIXES):
        hint = f"strixfleet reads {close} instead" if close else "strixfleet ignores it"
        message = "is not a variable of strixfleet"
        return Problem((name,), message, hint, warning=True, code=MistakeCode.UNKNOWN_NAME)
    return None


def _judge_connection_name(name: str) -> Problem | None:
    close = nearest(name, ALL_NAMES, SLIP_LIKENESS_MIN)
    if not close or name in ALL_NAMES | OTHER_CONNECTION_NAMES:
        return None
    message = "is not a connection variable of Ansible"
    return Problem((name,), message, f"write {close}", warning=True, code=MistakeCode.UNKNOWN_NAME)


def without_echoes(mistakes: Collection[Mistake]) -> Iterator[Mistake]:
    """Leave out that a variable is missing when it is there under a misspelt name."""
    meant = {nearest(one.field, FIELDS) for one in mistakes if one.code is MistakeCode.UNKNOWN_NAME}
    return (one for one in mistakes if not (one.code is MistakeCode.MISSING and one.field in meant))


def unused_files(
    files: Iterable[InventoryFile], groups: Collection[str], hosts: Collection[str]
) -> Iterator[Mistake]:
    """Warn of files of variables that are named after no group or host."""
    for file in files:
        known = {"group": groups, "host": hosts}.get(file.level)
        if known is None or file.name in known:
            continue
        close = nearest(file.name, known)
        hint = f"rename it to {close}" if close else f"name it after a {file.level}, or remove it"
        message = f"there is no {file.level} {quoted(file.name)}: Ansible does not read this file"
        yield Mistake(message, str(file.path), hint=hint, warning=True, code=MistakeCode.UNKNOWN_NAME)


def shared_addresses(hosts: Iterable[Host]) -> Iterator[Mistake]:
    """Warn of hosts that are reached alike: one machine under two names would be changed twice at once."""
    seen: dict[tuple[object, ...], str] = {}
    for host in hosts:
        reach = host.connection
        first = seen.setdefault((reach.address, reach.port, reach.ssh_common_args, reach.local), host.name)
        if first != host.name:
            message = f"{first} has the same address {quoted(reach.address)}"
            problem = Problem(("ansible_host",), message, "give each its own, or remove one", warning=True)
            yield problem.at(host.origins.get("ansible_host", Origin("")), host.name)


def unknown_hosts(
    hosts: Iterable[Host], group_names: Collection[str], host_names: Collection[str]
) -> Iterator[Mistake]:
    """Find settings that name a host which is not in the inventory; a canary may be a group."""
    allowed = {"rollout_canary": {*group_names, *host_names}, "llama_cpp_build_host": {*host_names}}
    for host in hosts:
        for setting, names in allowed.items():
            named = getattr(host.settings, setting)
            if named is not None and named not in names:
                close = nearest(named, names)
                hint = f"write {close}" if close else "write the name of a host of this inventory"
                problem = Problem((setting,), f"{quoted(named)} is not in this inventory", hint)
                yield problem.at(host.origins.get(setting, Origin("")), host.name)
