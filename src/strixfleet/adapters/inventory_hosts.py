"""From Ansible's hosts to ours: resolve, check, and say where each mistake stands."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strixfleet.adapters.inventory_ansible import (
    AnsibleInventory,
    HostVariables,
    Place,
    TemplateFailed,
    Value,
    connection_defaults,
    load_inventory,
)
from strixfleet.adapters.inventory_connection import ALL_NAMES, connection
from strixfleet.adapters.inventory_files import Survey, add_decrypted
from strixfleet.core.definitions import Definition, holding
from strixfleet.core.fleet import Fleet, Host, Origin
from strixfleet.core.problems import Problem
from strixfleet.core.settings import FIELDS, HostSettings
from strixfleet.core.settings_check import check
from strixfleet.core.settings_types import has_control, quoted
from strixfleet.core.spelling import Kinship, kinship, nearest
from strixfleet.errors import InventoryError, Mistake, UsageError


if TYPE_CHECKING:
    from strixfleet.adapters.inventory import InventoryRequest

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
FACTS_HINT = "facts of hosts are not known when the inventory is read; define the name in the inventory"
FOREIGN_HINT = "strixfleet does not read it"


@dataclass(frozen=True, slots=True)
class _Whole:
    """What is looked at for all hosts alike."""

    inventory: AnsibleInventory
    by_name: Mapping[str, list[Definition]]
    defaults: Mapping[str, object]


def examine_hosts(
    sources: tuple[str, ...], request: "InventoryRequest", found: Survey
) -> tuple[Fleet, list[Mistake]]:
    """Load with Ansible and check every selected host."""
    vault = (request.ask_vault_pass, request.vault_password_files)
    inventory = load_inventory(sources, request.extra_vars, vault)
    _look_into_vault(inventory, found)
    by_name: dict[str, list[Definition]] = {}
    for definition in found.definitions:
        by_name.setdefault(definition.name, []).append(definition)
    whole = _Whole(inventory, by_name, connection_defaults())
    selected = inventory.hosts(request.limit)
    if not selected:
        _refuse_empty(request.limit, sources)
    mistakes = list(_names_in_files(whole))
    hosts = []
    for entry in selected:
        host, wrong = _HostReader(whole, entry).read()
        mistakes.extend(wrong)
        if host is not None:
            hosts.append(host)
    mistakes.extend(Mistake(text, warning=True) for text in inventory.warnings)
    mistakes.extend(_canaries(hosts, inventory))
    return Fleet(tuple(hosts)), mistakes


def _look_into_vault(inventory: AnsibleInventory, found: Survey) -> None:
    """Scan encrypted files like the others; what cannot be decrypted, Ansible has refused already."""
    known = len(found.mistakes)
    for path, kind in found.encrypted:
        add_decrypted(found, path, kind, inventory.decrypt(str(path)))
    if len(found.mistakes) > known:
        raise InventoryError(tuple(found.mistakes[known:]))


def _refuse_empty(limit: str | None, sources: tuple[str, ...]) -> None:
    where = ", ".join(sources)
    if limit:
        raise UsageError(
            f"the limit {limit!r} matches no host",
            where=where,
            hint="list hosts with `ansible-inventory --graph`",
        )
    raise UsageError("the inventory has no hosts", where=where, hint="add hosts below `all: hosts:`")


def _names_in_files(whole: _Whole) -> Iterator[Mistake]:
    """Find slips and strangers among all names that files define, used by a host or not."""
    groups, hosts = whole.inventory.all_groups(), whole.inventory.all_names()
    for name, definitions in whole.by_name.items():
        if name in FIELDS or name.startswith("ansible_"):
            continue
        problem = _unknown_name(name)
        for place in definitions if problem else ():
            if problem:
                yield Mistake(
                    problem.message, place.file, place.line, "", problem.field, problem.hint, problem.warning
                )
    for path, scope in {(item.file, item.scope) for items in whole.by_name.values() for item in items}:
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


def _unknown_name(name: str) -> Problem | None:
    kind, close = kinship(name, FIELDS, PREFIXES)
    if kind is Kinship.SLIP:
        return Problem((name,), "is not known", f"write {close}")
    if kind is Kinship.FOREIGN:
        hint = f"{FOREIGN_HINT}; ours is {close}" if close else FOREIGN_HINT
        return Problem((name,), "is none of strixfleet's variables", hint, warning=True)
    return None


def _canaries(hosts: Iterable[Host], inventory: AnsibleInventory) -> Iterator[Mistake]:
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


class _HostReader:
    """Reads one host."""

    def __init__(self, whole: _Whole, entry: Any) -> None:  # noqa: ANN401 - Ansible's host
        self.whole = whole
        self.name = str(entry.name)
        self.groups = whole.inventory.groups_of(entry)
        self.variables: HostVariables = whole.inventory.variables(entry)
        self.values: dict[str, Value] = {}
        self.mistakes: list[Mistake] = []

    def read(self) -> tuple[Host | None, list[Mistake]]:
        """Resolve and check; no host when its settings or connection are wrong."""
        if has_control(self.name) or self.name.startswith("-") or "/" in self.name:
            hint = "name it as in DNS, and give the address in ansible_host"
            return None, [Mistake(f"{quoted(self.name)} is no host name", host=quoted(self.name), hint=hint)]
        self._resolve((*FIELDS, *ALL_NAMES))
        plain = {name: value.data for name, value in self.values.items() if value.data is not None}
        settings, problems = check(
            {name: value for name, value in plain.items() if name in FIELDS}, datetime.now(UTC).date()
        )
        for problem in problems:
            self._report(problem)
        self._report_unseen_names()
        reach = {name: value for name, value in plain.items() if name in ALL_NAMES}
        made, wrong = connection(self.name, reach, self.whole.defaults)
        for problem in wrong:
            self._report(problem)
        if settings is None:
            settings = HostSettings()
        return Host(self.name, made, settings, self.groups, self._origins()), self.mistakes

    def _resolve(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.variables:
                continue
            try:
                self.values[name] = self.variables.resolve(name)
            except TemplateFailed as error:
                origin = self._origin(error.place, name, ())
                hint = FACTS_HINT if "undefined" in error.message else "check the template"
                self.mistakes.append(Mistake(error.message, origin.file, origin.line, self.name, name, hint))

    def _report_unseen_names(self) -> None:
        """Find slips among names that no file of ours shows: dynamic inventories, `-e`, ranges."""
        for name, place in self.variables.names():
            if name in FIELDS or name in self.whole.by_name or name.startswith("ansible_"):
                continue
            problem = _unknown_name(name)
            if problem:
                file, line = (place.file, place.line) if place else ("", 0)
                self.mistakes.append(
                    Mistake(
                        problem.message, file, line, self.name, problem.field, problem.hint, problem.warning
                    )
                )

    def _report(self, problem: Problem) -> None:
        origin = self._place(problem.path)
        self.mistakes.append(
            Mistake(
                problem.message,
                origin.file,
                origin.line,
                self.name,
                problem.field,
                problem.hint,
                problem.warning,
            )
        )

    def _place(self, path: tuple[str | int, ...]) -> Origin:
        """Find the line of a key path: Ansible's nearest tag gives the node, the scan the rest of the way."""
        name, rest = str(path[0]), path[1:]
        value = self.values.get(name)
        if value is None:
            return self._missing()
        for depth in range(len(rest), -1, -1):
            place = value.places.get(tuple(rest[:depth]))
            if place is not None:
                return self._origin(place, name, tuple(rest), depth)
        return self._origin(value.raw_place, name, tuple(rest))

    def _origin(self, place: Place | None, name: str, rest: tuple[str | int, ...], depth: int = 0) -> Origin:
        definitions = self.whole.by_name.get(name, [])
        if place is None:
            definition = holding(definitions, self.name, self.groups)
            if definition is None:
                return Origin("")
            line = definition.node.locate(rest) if rest else definition.line
            return Origin(definition.file, line)
        exact = [item for item in definitions if item.file == place.file and item.node.line == place.line]
        if exact and rest and depth < len(rest):
            return Origin(place.file, exact[0].node.locate(rest))
        if depth < len(rest):
            line = self._inside(definitions, place, rest)
            return Origin(place.file, line or place.line)
        return Origin(place.file, place.line)

    @staticmethod
    def _inside(definitions: Iterable[Definition], place: Place, rest: tuple[str | int, ...]) -> int:
        """Find a path below a tagged part by following it from the variable's own definition."""
        for item in definitions:
            if item.file == place.file:
                line = item.node.locate(rest)
                if line >= place.line:
                    return line
        return 0

    def _missing(self) -> Origin:
        """Give the place for what is not there: where the host's servers are, else where the host is."""
        for name in ("llama_server_instances", "llama_models", *self.values):
            if name in self.values and self.values[name].raw_place:
                origin = self._origin(self.values[name].raw_place, name, ())
                return Origin(origin.file)
        places = [place for _, place in self.variables.names() if place and Path(place.file).is_file()]
        return Origin(places[0].file) if places else Origin("")

    def _origins(self) -> dict[str, Origin]:
        """Give for each of our variables where it is defined (not where a template's parts come from)."""
        found = {}
        for name, value in self.values.items():
            if name in FIELDS:
                origin = self._origin(value.raw_place, name, ())
                found[name] = Origin(origin.file, origin.line, templated=value.templated)
        return found
