"""
Ansible's own inventory code, called as its command line calls it: hosts, precedence, vault, templates.

ansible-core has no public API for this, so all of it is here, for the minor versions that pyproject.toml
names. Module-level caches are emptied before each load, so that a second load sees changed files.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from strixfleet.errors import InventoryError, Mistake, MistakeCode, UsageError
from strixfleet.inventory.ansible.ansible_cfg import ansible_constants
from strixfleet.inventory.ansible.failures import failures, sentence
from strixfleet.inventory.ansible.values import HostVariables, Place, place_of, reason, secret_hint
from strixfleet.inventory.ansible.vaults import give_vault_secrets
from strixfleet.inventory.request import InventoryRequest


UNMATCHED = re.compile(r"Could not match supplied host pattern, ignoring: (\S+)")
SAID_BETTER = re.compile(
    r"duplicate mapping key|Could not match supplied host pattern|Skipping (unexpected )?key"
)


@dataclass(frozen=True, slots=True)
class Layer:
    """The variables that a group, a host or `-e` has in one place: inline, or in files of variables."""

    hosts: tuple[str, ...]  # that they concern
    values: Mapping[str, Any]

    def names(self) -> Iterator[tuple[str, Place | None]]:
        """Walk over the variables' names and their places; a value has none where it is a boolean or null."""
        for name, value in self.values.items():
            yield str(name), place_of(name) or place_of(value)


class AnsibleInventory:
    """A loaded inventory."""

    def __init__(self, loader: Any, manager: Any, variables: Any, captured: Any) -> None:
        self._loader, self._manager, self._variables = loader, manager, variables
        self._captured = captured
        self._layers: dict[int, tuple[Layer, Layer]] = {}  # inline and in files, by Ansible's group or host

    def warnings(self) -> tuple[str, ...]:
        """Return what Ansible warned of so far, except what the scan of the files reports better."""
        sentences = (sentence(summary) for summary in self._captured.get_warnings())
        return tuple(text for text in sentences if not SAID_BETTER.search(text))

    def quiet(self) -> AbstractContextManager[Any]:
        """Collect Ansible's warnings within a `with` instead of printing them."""
        quiet: AbstractContextManager[Any] = self._captured
        return quiet

    def hosts(self, limit: str | None) -> list[Any]:
        """Return the hosts of a pattern in the inventory's order."""
        from ansible.errors import AnsibleError

        try:
            if limit:
                self._manager.subset(limit)
            found = list(self._manager.get_hosts("all"))
        except AnsibleError as error:
            raise UsageError(f"the limit {limit!r} cannot be used: {reason(error)}") from None
        self._refuse_unmatched(limit or "")
        return found

    def _refuse_unmatched(self, limit: str) -> None:
        """Refuse a limit with a part that matches nothing: a slip there would silently drop a host."""
        for warning in map(sentence, self._captured.get_warnings()):
            if (part := UNMATCHED.search(warning)) and f"!{part[1]}" not in limit and part[1] in limit:
                hint = "list hosts with `ansible-inventory --graph`"
                raise UsageError(f"the limit {limit!r}: {part[1]!r} matches no host", hint=hint)

    def all_names(self) -> set[str]:
        """Return every host's name, whatever the limit."""
        return set(self._manager.hosts)

    def all_groups(self) -> set[str]:
        """Return every group's name."""
        return set(self._manager.groups)

    def layers(self) -> Iterator[Layer]:
        """Walk over all variables of the inventory, of every group and host, whatever the limit."""
        for entity in (*self._manager.groups.values(), *self._manager.hosts.values()):
            yield from self._layers_of(entity)
        yield self._extra()

    def layers_of(self, host: Any) -> tuple[Layer, ...]:
        """Return what sets one host's variables, weakest first, by Ansible's default precedence."""
        from ansible.inventory.helpers import sort_groups

        inline, in_files = zip(*map(self._layers_of, sort_groups(host.get_groups())), strict=True)
        return (*inline, *in_files, *self._layers_of(host), self._extra())

    def _layers_of(self, entity: Any) -> tuple[Layer, Layer]:
        known = self._layers.get(id(entity))
        if known is None:
            members = entity.get_hosts() if hasattr(entity, "get_hosts") else (entity,)
            names = tuple(str(host.name) for host in members)
            known = Layer(names, entity.vars), Layer(names, self._in_files(entity))
            self._layers[id(entity)] = known
        return known

    def _in_files(self, entity: Any) -> Mapping[str, Any]:
        from ansible.errors import AnsibleError
        from ansible.vars.plugins import get_vars_from_inventory_sources

        sources = self._manager._sources  # noqa: SLF001 - as the variable manager takes them
        try:
            found: Mapping[str, Any] = get_vars_from_inventory_sources(
                self._loader, sources, [entity], "task"
            )
        except AnsibleError as error:
            raise InventoryError(failures(error, (), ())) from None
        return found

    def _extra(self) -> Layer:
        return Layer(tuple(self._manager.hosts), self._variables._extra_vars)  # noqa: SLF001 - set below

    def groups_of(self, host: Any) -> tuple[str, ...]:
        """Return a host's groups, weakest first."""
        from ansible.inventory.helpers import sort_groups

        return tuple(str(group.name) for group in sort_groups(host.get_groups()))

    def variables(self, host: Any) -> HostVariables:
        """Return a host's variables, unresolved."""
        from ansible.errors import AnsibleError

        try:
            return HostVariables(self._loader, self._variables.get_vars(host=host))
        except AnsibleError as error:
            raise InventoryError(failures(error, (), ())) from None

    def decrypt(self, path: str) -> bytes:
        """Return the content of an encrypted file."""
        from ansible.errors import AnsibleError

        try:
            text: str = self._loader.get_text_file_contents(path)
        except AnsibleError as error:
            message = f"cannot be decrypted: {reason(error)}"
            mistake = Mistake(message, path, 1, hint=secret_hint(message), code=MistakeCode.UNREADABLE)
            raise InventoryError((mistake,)) from None
        return text.encode()


def _forget() -> None:
    """Empty Ansible's module-level caches."""
    from ansible.plugins.vars import host_group_vars
    from ansible.utils import vars as ansible_vars

    host_group_vars.CANONICAL_PATHS.clear()
    host_group_vars.FOUND.clear()
    host_group_vars.NAK.clear()
    for function, name in (
        (ansible_vars.load_extra_vars, "extra_vars"),
        (ansible_vars.load_options_vars, "options_vars"),
    ):
        with contextlib.suppress(AttributeError):
            delattr(function, name)


def load_inventory(sources: tuple[str, ...], request: InventoryRequest) -> AnsibleInventory:
    """Load an inventory whose files have been scanned."""
    constants = ansible_constants()
    from ansible._internal._display_utils import DeferredWarningContext
    from ansible.errors import AnsibleError

    _forget()
    constants.INVENTORY_ANY_UNPARSED_IS_FAILED = True
    captured = DeferredWarningContext(variables={})
    with captured:
        try:
            return _load(sources, request, captured)
        except AnsibleError as error:
            raise InventoryError(failures(error, captured.get_warnings(), sources)) from None


def _load(sources: tuple[str, ...], request: InventoryRequest, captured: Any) -> AnsibleInventory:
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.plugins.loader import init_plugin_loader
    from ansible.release import __version__
    from ansible.utils.collection_loader import AnsibleCollectionConfig
    from ansible.vars.hostvars import HostVars
    from ansible.vars.manager import VariableManager

    if AnsibleCollectionConfig.collection_finder is None:
        init_plugin_loader()
    loader = DataLoader()
    give_vault_secrets(loader, ask=request.ask_vault_pass, password_files=request.vault_password_files)
    manager = InventoryManager(loader=loader, sources=list(sources))
    variables = VariableManager(
        loader=loader, inventory=manager, version_info={"string": __version__, "full": __version__}
    )
    variables.safe_basedir = False  # vars beside the current folder are no part of an inventory
    variables._extra_vars = _extra(loader, request.extra_vars)  # noqa: SLF001 - else they come from Ansible's own flags
    HostVars(manager, variables, loader)
    return AnsibleInventory(loader, manager, variables, captured)


def _extra(loader: Any, extra_vars: tuple[str, ...]) -> dict[str, Any]:
    """Read `-e` as ansible-playbook does: key=value, JSON or YAML, or @file."""
    from ansible._internal._datatag._tags import Origin, TrustedAsTemplate
    from ansible.parsing.splitter import parse_kv
    from ansible.utils.vars import combine_vars

    result: dict[str, Any] = {}
    for given in extra_vars:
        text = TrustedAsTemplate().tag(Origin(description="-e").tag(given))
        if given.startswith("@"):
            data = loader.load_from_file(given[1:], trusted_as_template=True)
        elif given[:1] in {"[", "{"}:
            data = loader.load(text)
        else:
            data = parse_kv(text)
        if not isinstance(data, Mapping):
            raise UsageError(
                f"-e {given[:60]!r} does not set variables", hint="write -e name=value, JSON or @FILE"
            )
        result = combine_vars(result, data)
    return result
