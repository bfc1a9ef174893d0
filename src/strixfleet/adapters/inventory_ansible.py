"""
Ansible's own inventory code, called as its command line calls it: hosts, precedence, vault, templates.

ansible-core has no public API for this, so all of it is here, for the minor version that pyproject.toml
names. Module-level caches are emptied before each load, so that a second load sees changed files.
"""

import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from strixfleet.adapters.inventory_values import HostVariables, place_of, reason
from strixfleet.errors import InventoryError, Mistake, UsageError


SECRET_HINT = "give --ask-vault-pass or --vault-password-file FILE"  # noqa: S105 - a hint, no secret


class AnsibleInventory:
    """A loaded inventory."""

    def __init__(self, loader: Any, manager: Any, variables: Any, warnings: Sequence[str]) -> None:
        self._loader, self._manager, self._variables = loader, manager, variables
        self.warnings = tuple(warnings)

    def hosts(self, limit: str | None) -> list[Any]:
        """Give the hosts of a pattern in the inventory's order."""
        from ansible._internal._display_utils import DeferredWarningContext
        from ansible.errors import AnsibleError

        with DeferredWarningContext(variables={}):  # what matches nothing is said by us
            try:
                if limit:
                    self._manager.subset(limit)
                return list(self._manager.get_hosts("all"))
            except AnsibleError as error:
                raise UsageError(f"the limit {limit!r} cannot be used: {reason(error)}") from None

    def all_names(self) -> set[str]:
        """Give every host's name, whatever the limit."""
        return set(self._manager.hosts)

    def all_groups(self) -> set[str]:
        """Give every group's name."""
        return set(self._manager.groups)

    def groups_of(self, host: Any) -> tuple[str, ...]:
        """Give a host's groups, weakest first."""
        from ansible.inventory.helpers import sort_groups

        return tuple(str(group.name) for group in sort_groups(host.get_groups()))

    def variables(self, host: Any) -> HostVariables:
        """Give a host's variables, unresolved."""
        return HostVariables(self._loader, self._variables.get_vars(host=host))

    def decrypt(self, path: str) -> bytes:
        """Give the content of an encrypted file."""
        text: str = self._loader.get_text_file_contents(path)
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
    try:
        from ansible import constants
        from ansible._internal._display_utils import DeferredWarningContext
        from ansible.errors import AnsibleError
    except Exception as error:  # noqa: BLE001 - a broken ansible.cfg raises at import, in many ways
        raise UsageError(
            f"Ansible does not start: {reason(error)}", hint="look at ansible.cfg and ANSIBLE_*"
        ) from None
    _forget()
    constants.INVENTORY_ANY_UNPARSED_IS_FAILED = True
    with DeferredWarningContext(variables={}) as captured:
        try:
            loaded = _load(sources, extra_vars, vault)
        except AnsibleError as error:
            raise InventoryError(_failures(error, captured.get_warnings(), sources)) from None
    warnings = [_sentence(summary) for summary in captured.get_warnings()]
    return AnsibleInventory(*loaded, warnings)


def _load(
    sources: tuple[str, ...], extra_vars: tuple[str, ...], vault: tuple[bool, tuple[str, ...]]
) -> tuple[Any, Any, Any]:
    from ansible import constants
    from ansible.cli import CLI
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.plugins.loader import init_plugin_loader
    from ansible.vars.hostvars import HostVars
    from ansible.vars.manager import VariableManager

    with contextlib.suppress(Exception):  # a second call only warns
        init_plugin_loader()
    loader = DataLoader()
    ask, password_files = vault
    secrets = CLI.setup_vault_secrets(
        loader,
        vault_ids=list(constants.DEFAULT_VAULT_IDENTITY_LIST),
        vault_password_files=list(password_files),
        ask_vault_pass=ask,
        auto_prompt=False,
    )
    loader.set_vault_secrets(secrets)
    manager = InventoryManager(loader=loader, sources=list(sources))
    variables = VariableManager(
        loader=loader, inventory=manager, version_info=CLI.version_info(gitinfo=False)
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
    return re.sub(r"\s+", " ", str(summary.event.msg)).strip()


def _failures(error: Any, warnings: Sequence[Any], sources: tuple[str, ...]) -> tuple[Mistake, ...]:
    """Turn Ansible's failure, and the warnings before it that say why, into mistakes."""
    place = place_of(getattr(error, "obj", None))
    message = reason(error)
    hint = SECRET_HINT if "vault" in message.lower() or "decrypt" in message.lower() else ""
    file = place.file if place and place.file.startswith("/") else (sources[0] if sources else "")
    mistakes = [
        Mistake(message, file, place.line if place else 0, hint=hint or "see `ansible-inventory --list`")
    ]
    for summary in warnings:
        text = _sentence(summary)
        if "Failed to parse" in text or "Unable to parse" in text:
            mistakes.append(Mistake(text, file, hint=hint or "write it as an Ansible inventory"))
    return tuple(mistakes)


def configured_sources() -> tuple[str, ...]:
    """Give ansible.cfg's inventory."""
    from ansible import constants

    given = constants.DEFAULT_HOST_LIST
    return tuple(given) if isinstance(given, list | tuple) else tuple(str(given).split(","))


def connection_defaults() -> dict[str, object]:
    """Give what ansible.cfg and ANSIBLE_* say about connections, under the variables' names."""
    from ansible import constants

    def option(name: str) -> object:
        with contextlib.suppress(Exception):  # an option that this release does not have
            return constants.config.get_config_value(name, plugin_type="connection", plugin_name="ssh")
        return None

    become = constants.DEFAULT_BECOME
    return {
        "ansible_user": constants.DEFAULT_REMOTE_USER,
        "ansible_port": constants.DEFAULT_REMOTE_PORT,
        "ansible_private_key_file": constants.DEFAULT_PRIVATE_KEY_FILE,
        "ansible_timeout": constants.DEFAULT_TIMEOUT,
        "ansible_become": become or None,
        "ansible_ssh_common_args": option("ssh_common_args"),
        "ansible_ssh_extra_args": option("ssh_extra_args"),
    }
