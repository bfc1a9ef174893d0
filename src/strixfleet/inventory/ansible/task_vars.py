"""A host as a running play knows it: what the action plugin compiles from, under any Ansible front end."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from strixfleet.errors import InventoryError, Mistake
from strixfleet.inventory.ansible.connections import interpreter
from strixfleet.inventory.ansible.values import HostVariables, TemplateFailed
from strixfleet.inventory.files.paths import anchored, folder_of
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.rules import check
from strixfleet.inventory.schema.settings import HostSettings


FIELDS = frozenset(HostSettings.model_fields)


def inventory_folder(variables: Mapping[str, Any]) -> Path:
    """Return the folder that relative paths count from, the same as on the command line."""
    sources = variables.get("ansible_inventory_sources") or ()
    return folder_of([str(source) for source in sources])


def host_from_vars(name: str, variables: Mapping[str, Any], loader: Any) -> Host:  # noqa: ANN401 - Ansible's
    """Check a play's variables as `load` checks an inventory's; Ansible itself holds the connection."""
    resolver = HostVariables(loader, dict(variables))
    values: dict[str, object] = {}
    try:
        for field in FIELDS & set(variables):
            data = resolver.resolve(field).data
            if data is not None:
                values[field] = data
        python = _python(resolver, variables)
    except TemplateFailed as error:
        raise InventoryError((Mistake(error.message, host=name, hint=error.hint),)) from None
    settings, problems = check(anchored(values, inventory_folder(variables)), datetime.now(UTC).date())
    if settings is None:
        wrong = (problem for problem in problems if not problem.warning)
        raise InventoryError(
            tuple(Mistake(one.message, host=name, field=one.field, hint=one.hint) for one in wrong)
        )
    return Host(name, Connection(address=name, python=python), settings)


def _python(resolver: HostVariables, variables: Mapping[str, Any]) -> str | None:
    """Return the interpreter that the inventory names, or else the one that Ansible has found on the host."""
    named = "ansible_python_interpreter"
    facts = variables.get("ansible_facts") or {}
    chosen = interpreter(resolver.resolve(named).data if named in resolver else None)
    return chosen or facts.get("discovered_interpreter_python")
