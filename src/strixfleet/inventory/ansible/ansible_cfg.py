"""Settings from ansible.cfg and the environment."""

import os
from typing import Any

import platformdirs

from strixfleet.errors import UsageError
from strixfleet.inventory.ansible.values import reason


def ansible_constants() -> Any:  # noqa: ANN401 - a module without types
    """Import Ansible without its folder in the home; a broken ansible.cfg raises many kinds of errors."""
    os.environ.setdefault("ANSIBLE_LOCAL_TEMP", str(platformdirs.user_cache_path("strixfleet") / "ansible"))
    try:
        from ansible import constants
    except Exception as error:  # noqa: BLE001
        message = f"Ansible does not start: {reason(error)}"
        raise UsageError(message, hint="check ansible.cfg and ANSIBLE_*") from None
    return constants


def configured_sources() -> tuple[str, ...]:
    """Return ansible.cfg's inventory."""
    given = ansible_constants().DEFAULT_HOST_LIST
    return tuple(given) if isinstance(given, list | tuple) else tuple(str(given).split(","))


def connection_defaults() -> dict[str, object]:
    """Return the connection settings of ansible.cfg and ANSIBLE_*, under the variables' names."""
    from ansible.plugins.loader import connection_loader

    constants = ansible_constants()
    connection_loader.get("ssh", class_only=True)  # makes its options known

    def option(name: str) -> object:
        return constants.config.get_config_value(name, plugin_type="connection", plugin_name="ssh")

    return {
        "ansible_user": option("remote_user"),
        "ansible_port": option("port"),
        "ansible_private_key_file": option("private_key_file"),
        "ansible_timeout": option("timeout"),
        "ansible_become": constants.DEFAULT_BECOME or None,
        "ansible_become_user": constants.DEFAULT_BECOME_USER,
        "ansible_become_flags": constants.DEFAULT_BECOME_FLAGS or None,
        "ansible_become_exe": constants.DEFAULT_BECOME_EXE or None,
        "ansible_ssh_common_args": option("ssh_common_args"),
        "ansible_ssh_extra_args": option("ssh_extra_args"),
    }
