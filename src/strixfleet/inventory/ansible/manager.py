"""
Ansible's own inventory code, called as its command line calls it: hosts, precedence, vault, templates.

ansible-core has no public API for this, so all of it is here, for the minor version that pyproject.toml
names. Module-level caches are emptied before each load, so that a second load sees changed files.
"""

import contextlib
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from strixfleet.errors import InventoryError, Mistake, UsageError
from strixfleet.inventory.ansible.ansible_cfg import ansible_constants
from strixfleet.inventory.ansible.values import HostVariables, Place, place_of, reason, secret_hint
from strixfleet.inventory.ansible.vaults import give_vault_secrets
from strixfleet.inventory.files.ini_scan import has_sections
from strixfleet.inventory.files.origins import Scope


CAUSES_SHOWN = 4
UNMATCHED = re.compile(r"Could not match supplied host pattern, ignoring: (\S+)")
SAID_BETTER = re.compile(
    r"duplicate mapping key|Could not match supplied host pattern|Skipping (unexpected )?key"
)


class AnsibleInventory:
    """A loaded inventory."""

    def __init__(self, loader: Any, manager: Any, variables: Any, captured: Any) -> None:
        self._loader, self._manager, self._variables = loader, manager, variables
        self._captured = captured

    def warnings(self) -> tuple[str, ...]:
        """Return what Ansible warned of so far, but what the scan says better."""
        sentences = (_sentence(summary) for summary in self._captured.get_warnings())
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
        """Refuse a limit of which a part matches nothing: a slip there would leave a host out unsaid."""
        for warning in map(_sentence, self._captured.get_warnings()):
            if (part := UNMATCHED.search(warning)) and f"!{part[1]}" not in limit and part[1] in limit:
                hint = "list hosts with `ansible-inventory --graph`"
                raise UsageError(f"the limit {limit!r}: {part[1]!r} matches no host", hint=hint)

    def all_names(self) -> set[str]:
        """Return every host's name, whatever the limit."""
        return set(self._manager.hosts)

    def all_groups(self) -> set[str]:
        """Return every group's name."""
        return set(self._manager.groups)

    def concerned(self, scope: Scope) -> tuple[str, ...]:
        """Return the names of the hosts that a definition concerns, in the inventory's order."""
        if scope.level == "extra":
            return tuple(self._manager.hosts)
        if scope.level == "host":
            return tuple(name for name in self._manager.hosts if scope.names(name))
        group = self._manager.groups.get(scope.name)
        return tuple(str(host.name) for host in group.get_hosts()) if group else ()

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
            raise InventoryError(_failures(error, (), ())) from None

    def decrypt(self, path: str) -> bytes:
        """Return the content of an encrypted file."""
        from ansible.errors import AnsibleError

        try:
            text: str = self._loader.get_text_file_contents(path)
        except AnsibleError as error:
            message = f"cannot be decrypted: {reason(error)}"
            raise InventoryError((Mistake(message, path, 1, hint=secret_hint(message)),)) from None
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


def load_inventory(
    sources: tuple[str, ...], extra_vars: tuple[str, ...], vault: tuple[bool, tuple[str, ...]]
) -> AnsibleInventory:
    """Load an inventory whose files have been scanned."""
    constants = ansible_constants()
    from ansible._internal._display_utils import DeferredWarningContext
    from ansible.errors import AnsibleError

    _forget()
    constants.INVENTORY_ANY_UNPARSED_IS_FAILED = True
    captured = DeferredWarningContext(variables={})
    with captured:
        try:
            loaded = _load(sources, extra_vars, vault)
        except AnsibleError as error:
            raise InventoryError(_failures(error, captured.get_warnings(), sources)) from None
    return AnsibleInventory(*loaded, captured)


def _load(
    sources: tuple[str, ...], extra_vars: tuple[str, ...], vault: tuple[bool, tuple[str, ...]]
) -> tuple[Any, Any, Any]:
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
    ask, password_files = vault
    give_vault_secrets(loader, ask=ask, password_files=password_files)
    manager = InventoryManager(loader=loader, sources=list(sources))
    variables = VariableManager(
        loader=loader, inventory=manager, version_info={"string": __version__, "full": __version__}
    )
    variables.safe_basedir = False  # vars beside the current folder are no part of an inventory
    variables._extra_vars = _extra(loader, extra_vars)  # noqa: SLF001 - else they come from Ansible's own flags
    HostVars(manager, variables, loader)
    return loader, manager, variables


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
                f"-e {given[:60]!r} gives no variables", hint="write -e name=value, JSON or @FILE"
            )
        result = combine_vars(result, data)
    return result


def _sentence(summary: Any) -> str:
    """Return a warning with its causes as one line."""
    text, event = "", summary.event
    for _ in range(CAUSES_SHOWN):
        more = str(event.msg).strip().rstrip(".")
        text = text if more in text else f"{text}: {more}" if text else more
        if event.chain is None:
            break
        event = event.chain.event
    return re.sub(r"\s+", " ", text)


def _failures(error: Any, warnings: Sequence[Any], sources: tuple[str, ...]) -> tuple[Mistake, ...]:
    """Turn Ansible's failure, and the warnings before it that say why, into a mistake."""
    place = place_of(getattr(error, "obj", None))
    message = reason(error)
    named = re.search(r"(/[^\n\"']+?)(?=['\":]|$)", message)
    if place is None or not place.file.startswith("/"):
        place = Place(named[1] if named else sources[0] if sources else "", 0)
    if "failed to parse inventory source" in message:
        message = f"cannot be read as an inventory: {_cause(warnings, ini=has_sections(Path(place.file)))}"
    secret = "vault" in message.lower() or "decrypt" in message.lower()
    hint = secret_hint(message) if secret else "see what `ansible-inventory --list` says"
    return (Mistake(message, place.file, place.line, hint=hint),)


def _cause(warnings: Sequence[Any], *, ini: bool) -> str:
    """Choose among what the plugins say the one that most likely was meant to read the file."""
    causes = {}
    for summary in warnings:
        match = re.match(r"Failed to parse inventory with '(.+?)' plugin(?:: (.*))?", _sentence(summary))
        if match:
            causes[match[1]] = match[2] or "no reason given"
    likely = ("script", "ini") if ini else ("script", "yaml", "ini")
    order = [name for name in likely if name in causes]
    return causes[order[0]] if order else next(iter(causes.values()), "no plugin wants it")
