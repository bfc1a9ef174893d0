"""From Ansible's hosts to ours: resolve, check, and say where each mistake stands."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strixfleet.errors import InventoryError, Mistake, UsageError
from strixfleet.inventory.ansible.ansible_cfg import connection_defaults
from strixfleet.inventory.ansible.connection_reader import ALL_NAMES
from strixfleet.inventory.ansible.connections import connection
from strixfleet.inventory.ansible.manager import AnsibleInventory, load_inventory
from strixfleet.inventory.ansible.values import HostVariables, TemplateFailed, Value
from strixfleet.inventory.files.folder_scan import Survey, add_decrypted
from strixfleet.inventory.files.origins import Definition
from strixfleet.inventory.files.paths import anchored, folder_of, missing_files
from strixfleet.inventory.files.places import Places
from strixfleet.inventory.files.unknown_names import canaries, names_in_files, twins, unknown_name
from strixfleet.inventory.schema.field_types import has_control, quoted
from strixfleet.inventory.schema.fleet_model import Fleet, Host, Origin
from strixfleet.inventory.schema.number_words import misread_numbers
from strixfleet.inventory.schema.problems import Problem
from strixfleet.inventory.schema.rules import check
from strixfleet.inventory.schema.settings import FIELDS, HostSettings


if TYPE_CHECKING:
    from strixfleet.inventory.load import InventoryRequest


@dataclass(frozen=True, slots=True)
class _Whole:
    """What is looked at for all hosts alike."""

    inventory: AnsibleInventory
    by_name: Mapping[str, list[Definition]]
    defaults: Mapping[str, object]
    folder: Path


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
    whole = _Whole(inventory, by_name, connection_defaults(), folder_of(sources))
    mistakes = list(names_in_files(inventory, by_name))
    hosts = []
    with inventory.quiet():
        selected = inventory.hosts(request.limit)
        if not selected and not found.mistakes:
            _refuse_empty(request.limit, sources)
        for entry in selected:
            host, wrong = _HostReader(whole, entry).read()
            mistakes.extend(wrong)
            if host is not None:
                hosts.append(host)
    mistakes.extend(canaries(hosts, inventory))
    mistakes.extend(twins(hosts))
    mistakes = _without_echoes(mistakes)
    mistakes.extend(Mistake(text, sources[0], warning=True) for text in inventory.warnings())
    return Fleet(tuple(hosts)), mistakes


def _without_echoes(mistakes: list[Mistake]) -> list[Mistake]:
    """Leave out that a variable is missing when a misspelt one is named."""
    meant = {mistake.hint.removeprefix("write ") for mistake in mistakes if mistake.message == "is not known"}
    return [item for item in mistakes if not (item.field in meant and item.message.startswith("is missing"))]


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


class _HostReader:
    """Reads one host."""

    def __init__(self, whole: _Whole, entry: Any) -> None:  # noqa: ANN401 - Ansible's host
        self.whole = whole
        self.name = str(entry.name)
        self.groups = whole.inventory.groups_of(entry)
        self.variables: HostVariables = whole.inventory.variables(entry)
        self.values: dict[str, Value] = {}
        self.places = Places((self.name, self.groups), whole.by_name, self.variables, self.values)
        self.mistakes: list[Mistake] = []
        self.unresolved: set[str] = set()

    def read(self) -> tuple[Host | None, list[Mistake]]:
        """Resolve and check; no host when its settings or connection are wrong."""
        if has_control(self.name) or self.name.startswith("-") or "/" in self.name:
            hint = "name it as in DNS, and give the address in ansible_host"
            return None, [Mistake(f"{quoted(self.name)} is no host name", host=quoted(self.name), hint=hint)]
        self._resolve((*FIELDS, *ALL_NAMES))
        plain = {name: value.data for name, value in self.values.items() if value.data is not None}
        ours = {name: value for name, value in plain.items() if name in FIELDS}
        settings, problems = check(anchored(ours, self.whole.folder), datetime.now(UTC).date())
        absent = missing_files(settings) if settings else ()
        for problem in (*problems, *misread_numbers(ours, self.places.written), *absent):
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
                self.unresolved.add(name)
                origin = self.places.origin(error.place, name, ())
                where = (origin.file, origin.line, self.name, name)
                self.mistakes.append(Mistake(error.message, *where, error.hint))

    def _report_unseen_names(self) -> None:
        """Find slips among names that no file of ours shows: dynamic inventories, `-e`, ranges."""
        for name, key_place in self.variables.names():
            if name in FIELDS or name in self.whole.by_name or name.startswith("ansible_"):
                continue
            problem = unknown_name(name)
            if problem:
                place = key_place or self.variables.place(name)
                file, line = (place.file, place.line) if place else ("", 0)
                self.mistakes.append(
                    Mistake(
                        problem.message, file, line, self.name, problem.field, problem.hint, problem.warning
                    )
                )

    def _report(self, problem: Problem) -> None:
        if problem.path[0] in self.unresolved:
            return  # its template has been reported
        origin = self.places.find(problem.path)
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

    def _origins(self) -> dict[str, Origin]:
        """Return for each variable where it is defined (not where a template's parts come from)."""
        found = {"ansible_host": self.places.find(("ansible_host",))}
        for name, value in self.values.items():
            if name in FIELDS:
                origin = self.places.origin(value.raw_place, name, ())
                found[name] = Origin(origin.file, origin.line, templated=value.templated)
        return found
