"""From Ansible's hosts to ours: resolve and check each host, and find where each mistake is written."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from strixfleet.errors import InventoryError, Mistake, UsageError
from strixfleet.inventory.ansible.ansible_cfg import connection_defaults
from strixfleet.inventory.ansible.connection_variables import ALL_NAMES
from strixfleet.inventory.ansible.connections import connection
from strixfleet.inventory.ansible.manager import AnsibleInventory, load_inventory
from strixfleet.inventory.ansible.places import Places, origin_of
from strixfleet.inventory.ansible.values import HostVariables, TemplateFailed, Value
from strixfleet.inventory.files.folder_scan import Survey
from strixfleet.inventory.files.paths import anchored, folder_of, missing_files
from strixfleet.inventory.files.unknown_names import (
    judge_name,
    shared_addresses,
    unknown_hosts,
    unused_files,
    without_echoes,
)
from strixfleet.inventory.files.yaml_file import scan_yaml
from strixfleet.inventory.request import InventoryRequest
from strixfleet.inventory.schema.field_types import has_control, quoted
from strixfleet.inventory.schema.fleet_model import Host, Origin
from strixfleet.inventory.schema.problems import Problem
from strixfleet.inventory.schema.rules import check
from strixfleet.inventory.schema.settings import FIELDS, HostSettings


@dataclass(frozen=True, slots=True)
class ExaminedHosts:
    """The hosts of an inventory and all mistakes in them; a host without connection is left out."""

    hosts: tuple[Host, ...]
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What is the same for all hosts."""

    inventory: AnsibleInventory
    connection_defaults: Mapping[str, object]
    folder: Path


def examine_hosts(sources: tuple[str, ...], request: InventoryRequest, found: Survey) -> ExaminedHosts:
    """Load with Ansible and check every selected host."""
    inventory = load_inventory(sources, request)
    _scan_encrypted(inventory, found)
    around = _Surroundings(inventory, connection_defaults(), folder_of(sources))
    group_names, host_names = inventory.all_groups(), inventory.all_names()
    with inventory.quiet():
        mistakes = [*_unknown_names(inventory), *unused_files(found.vars_files, group_names, host_names)]
        selected = inventory.hosts(request.limit)
        if not selected and not found.mistakes:
            _refuse_empty(request.limit, sources)
        hosts = []
        for entry in selected:
            reader = _HostReader(around, entry)
            if host := reader.read():
                hosts.append(host)
            mistakes += reader.mistakes
    mistakes += [*unknown_hosts(hosts, group_names, host_names), *shared_addresses(hosts)]
    mistakes += [Mistake(text, sources[0], warning=True) for text in inventory.warnings()]
    return ExaminedHosts(tuple(hosts), tuple(without_echoes(mistakes)))


def _unknown_names(inventory: AnsibleInventory) -> Iterator[Mistake]:
    """Find misspelt and foreign names among all variables, whether a selected host uses them or not."""
    for layer in inventory.layers():
        for name, place in layer.names():
            if problem := judge_name(name):
                yield from (problem.at(origin_of(place), host) for host in layer.hosts or ("",))


def _scan_encrypted(inventory: AnsibleInventory, found: Survey) -> None:
    """Scan encrypted files like the others; Ansible has refused already what cannot be decrypted."""
    for file in found.encrypted:
        path = str(file.path)
        found.add(file, scan_yaml(path, inventory.decrypt(path)))
    if found.keeps_ansible_out():
        raise InventoryError(())  # the mistakes are in the survey


def _refuse_empty(limit: str | None, sources: tuple[str, ...]) -> None:
    where = ", ".join(sources)
    if limit:
        hint = "list hosts with `ansible-inventory --graph`"
        raise UsageError(f"the limit {limit!r} matches no host", where=where, hint=hint)
    raise UsageError("the inventory has no hosts", where=where, hint="add hosts below `all: hosts:`")


class _HostReader:
    """Reads one host."""

    def __init__(self, around: _Surroundings, entry: Any) -> None:  # noqa: ANN401 - Ansible's host
        self.around = around
        self.name = str(entry.name)
        self.groups = around.inventory.groups_of(entry)
        self.variables: HostVariables = around.inventory.variables(entry)
        self.values: dict[str, Value] = {}
        layers = around.inventory.layers_of(entry)
        self.places = Places(self.values, layers, self.variables.place("inventory_hostname"))
        self.mistakes: list[Mistake] = []
        self.unresolved: set[str] = set()

    def read(self) -> Host | None:
        """Resolve and check; a host whose name cannot be used is None."""
        if has_control(self.name) or self.name.startswith("-") or "/" in self.name:
            hint = "name it as in DNS, and give the address in ansible_host"
            message = f"{quoted(self.name)} is not a valid host name"
            self.mistakes.append(Mistake(message, host=quoted(self.name), hint=hint))
            return None
        self._resolve((*FIELDS, *ALL_NAMES))
        plain = {name: value.data for name, value in self.values.items() if value.data is not None}
        ours = {name: value for name, value in plain.items() if name in FIELDS}
        settings, problems = check(anchored(ours, self.around.folder), datetime.now(UTC).date())
        absent = missing_files(settings) if settings else ()
        reach = {name: value for name, value in plain.items() if name in ALL_NAMES}
        made, wrong = connection(self.name, reach, self.around.connection_defaults)
        for problem in (*problems, *absent, *wrong):
            self._report(problem)
        return Host(self.name, made, settings or HostSettings(), self.groups, self._origins())

    def _resolve(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.variables:
                continue
            try:
                self.values[name] = self.variables.resolve(name)
            except TemplateFailed as error:
                self.unresolved.add(name)
                problem = Problem((name,), error.message, error.hint)
                self.mistakes.append(problem.at(self.places.defined(name, error.place), self.name))

    def _report(self, problem: Problem) -> None:
        if problem.path[0] not in self.unresolved:  # whose template has been reported
            self.mistakes.append(problem.at(self.places.find(problem.path), self.name))

    def _origins(self) -> dict[str, Origin]:
        """Return for each variable where it is defined (not where a template's parts come from)."""
        found = {"ansible_host": self.places.find(("ansible_host",))}
        for name, value in self.values.items():
            if name in FIELDS:
                origin = self.places.defined(name, value.raw_place)
                found[name] = Origin(origin.file, origin.line, templated=value.templated)
        return found
