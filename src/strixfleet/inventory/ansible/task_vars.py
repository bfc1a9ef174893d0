"""A host as a running play knows it: what the action plugin compiles from, under any Ansible front end."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from strixfleet.errors import InventoryError, Mistake
from strixfleet.inventory.ansible.connections import interpreter
from strixfleet.inventory.ansible.manager import Layer
from strixfleet.inventory.ansible.places import Places, origin_of
from strixfleet.inventory.ansible.values import HostVariables, Place, TemplateFailed, Value
from strixfleet.inventory.files.paths import anchored, folder_of
from strixfleet.inventory.files.unknown_names import judge_name, without_echoes
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.problems import Problem
from strixfleet.inventory.schema.rules import check
from strixfleet.inventory.schema.settings import FIELDS


PYTHON = "ansible_python_interpreter"
OF_A_ROLE = re.compile(r"/roles/[^/]+/(defaults|vars)/")  # a role's own variables share its prefix


def inventory_folder(variables: Mapping[str, Any]) -> Path:
    """Return the folder at which relative paths start, the same as on the command line."""
    sources = variables.get("ansible_inventory_sources") or ()
    return folder_of([str(source) for source in sources])


def host_from_vars(name: str, variables: Mapping[str, Any], loader: Any) -> Host:  # noqa: ANN401 - Ansible's
    """Check a play's variables as `load` checks an inventory's; Ansible itself has the connection."""
    resolver = HostVariables(loader, dict(variables))
    values: dict[str, Value] = {}
    places = Places(values, [Layer((name,), variables)], None)
    mistakes = [one for one in name_mistakes(name, variables) if not one.warning]
    for field in (*FIELDS, PYTHON):
        try:
            if field in resolver:
                values[field] = resolver.resolve(field)
        except TemplateFailed as error:
            problem = Problem((field,), error.message, error.hint)
            mistakes.append(problem.at(places.defined(field, error.place), name))
    python = values.pop(PYTHON, Value(None)).data
    plain = {field: value.data for field, value in values.items() if value.data is not None}
    settings, problems = check(anchored(plain, inventory_folder(variables)), datetime.now(UTC).date())
    mistakes += [one.at(places.find(one.path), name) for one in problems if one.keeps_out]
    if mistakes or settings is None:
        raise InventoryError(tuple(without_echoes(mistakes)))
    found = (variables.get("ansible_facts") or {}).get("discovered_interpreter_python")
    return Host(name, Connection(address=name, python=interpreter(python) or found), settings)


def name_mistakes(host: str, variables: Mapping[str, Any]) -> Iterator[Mistake]:
    """Find misspelt and foreign names among a play's variables, except facts and those of roles."""
    for name, place in Layer((host,), variables).names():
        problem = None if name.startswith("ansible_") or _is_of_a_role(place) else judge_name(name)
        if problem:
            yield problem.at(origin_of(place), host)


def _is_of_a_role(place: Place | None) -> bool:
    return place is not None and OF_A_ROLE.search(place.file) is not None
