"""Names in the inventory that are not ours: slips, strangers, files of no group, canaries of no fleet."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from strixfleet.errors import Mistake
from strixfleet.inventory.ansible.connection_reader import ALL_NAMES
from strixfleet.inventory.ansible.manager import AnsibleInventory
from strixfleet.inventory.files.origins import Definition
from strixfleet.inventory.schema.field_types import quoted
from strixfleet.inventory.schema.fleet_model import Host, Origin
from strixfleet.inventory.schema.problems import Problem
from strixfleet.inventory.schema.settings import FIELDS
from strixfleet.inventory.schema.spelling import SLIPS_MAX, Kinship, distance, kinship, nearest


ByName = Mapping[str, list[Definition]]
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
# Ansible's own, near to names that are read here.
OTHER_CONNECTION_NAMES = frozenset({"ansible_scp_extra_args", "ansible_sftp_extra_args"})
FOREIGN_HINT = "strixfleet does not read it"


def names_in_files(inventory: AnsibleInventory, by_name: ByName) -> Iterator[Mistake]:
    """Find slips and strangers among all names that files define, used by a host or not."""
    groups, hosts = inventory.all_groups(), inventory.all_names()
    for name, definitions in by_name.items():
        if name in FIELDS:
            continue
        problem = connection_slip(name) if name.startswith("ansible_") else unknown_name(name)
        if problem is None:
            continue
        for place in definitions:
            for host in inventory.concerned(place.scope) or ("",):
                yield _slip(problem, place, host)
    for path, scope in {(item.file, item.scope) for items in by_name.values() for item in items}:
        if (
            scope.in_file
            and scope.level != "extra"
            and scope.name not in (groups if scope.level == "group" else hosts)
        ):
            close = nearest(scope.name, groups if scope.level == "group" else hosts)
            hint = f"rename it to {close}" if close else f"name it after a {scope.level}, or remove it"
            yield Mistake(
                f"no {scope.level} of that name: Ansible does not read this file",
                path,
                hint=hint,
                warning=True,
            )


def _slip(problem: Problem, place: Definition, host: str) -> Mistake:
    fields = (problem.field, problem.hint, problem.warning)
    return Mistake(problem.message, place.file, place.line, host, *fields)


@lru_cache(maxsize=4096)
def unknown_name(name: str) -> Problem | None:
    """Judge a name that is no variable of ours."""
    kind, close = kinship(name, FIELDS, PREFIXES)
    if kind is Kinship.SLIP:
        return Problem((name,), "is not known", f"write {close}")
    if kind is Kinship.FOREIGN:
        hint = f"{FOREIGN_HINT}; ours is {close}" if close else FOREIGN_HINT
        return Problem((name,), "is none of strixfleet's variables", hint, warning=True)
    return None


def connection_slip(name: str) -> Problem | None:
    """Judge one of Ansible's names: near to a variable of the connection, it is likely meant for that."""
    if name in ALL_NAMES | OTHER_CONNECTION_NAMES:
        return None
    close = min(ALL_NAMES, key=lambda known: distance(name, known, SLIPS_MAX))
    if distance(name, close, SLIPS_MAX) > SLIPS_MAX:
        return None
    return Problem((name,), "is no variable of Ansible's connections", f"write {close}", warning=True)


def twins(hosts: Iterable[Host]) -> Iterator[Mistake]:
    """Find hosts that are reached alike: one machine under two names would be changed twice at once."""
    seen: dict[tuple[object, ...], str] = {}
    for host in hosts:
        reach = host.connection
        first = seen.setdefault((reach.address, reach.port, reach.ssh_common_args, reach.local), host.name)
        if first != host.name:
            hint = "give each its own ansible_host, or remove one"
            message = f"is reached at {quoted(reach.address)} like {first}"
            origin = host.origins.get("ansible_host", Origin(""))
            yield Mistake(message, origin.file, origin.line, host.name, "ansible_host", hint, warning=True)


def canaries(hosts: Iterable[Host], inventory: AnsibleInventory) -> Iterator[Mistake]:
    """Find canaries that are no hosts."""
    names = inventory.all_names() | inventory.all_groups()
    for host in hosts:
        canary = host.settings.rollout_canary
        if canary is not None and canary not in names:
            origin = host.origins.get("rollout_canary", Origin(""))
            close = nearest(canary, names)
            hint = f"write {close}" if close else "write the name of a host of this inventory"
            message = f"{quoted(canary)} is no host of this inventory"
            yield Mistake(message, origin.file, origin.line, host.name, "rollout_canary", hint)
