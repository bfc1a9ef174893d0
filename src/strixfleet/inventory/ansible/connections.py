"""Make a host's Connection from Ansible's variables, ansible.cfg's defaults and ssh's configuration."""

import os
from collections.abc import Mapping

from pydantic import ValidationError

from strixfleet.inventory.ansible.connection_variables import ADDRESS, LOCAL, ConnectionVariables
from strixfleet.inventory.ansible.ssh_config import Configured, configured
from strixfleet.inventory.schema.field_types import quoted
from strixfleet.inventory.schema.fleet_model import Connection
from strixfleet.inventory.schema.problems import Problem, from_validation


NOTHING = (None, "")


def interpreter(named: object) -> str | None:
    """Return the Python that an inventory names; None where it leaves the choice to Ansible."""
    return None if not named or str(named).startswith("auto") else str(named)


def connection(
    name: str, values: Mapping[str, object], defaults: Mapping[str, object]
) -> tuple[Connection, tuple[Problem, ...]]:
    """Return a host's Connection and its problems; `defaults` are ansible.cfg's, by variable name."""
    set_here = {key: value for key, value in values.items() if value not in NOTHING}
    set_anywhere = {**{key: value for key, value in defaults.items() if value not in NOTHING}, **set_here}
    try:
        wish = ConnectionVariables.model_validate(set_anywhere)
    except ValidationError as error:
        return Connection(name), from_validation(error)
    local = wish.connection in LOCAL
    address = wish.address or name
    arguments = (*wish.ssh_args, *wish.ssh_common_args, *wish.ssh_extra_args)
    known = Configured() if local else _ask_ssh(address, wish, arguments)
    user = wish.user or known.user
    as_root = os.geteuid() == 0 if local else user == "root"
    key = wish.private_key_file
    made = Connection(
        address=(known.address or address).strip("[]"),
        port=wish.port or known.port or 22,
        user=user,
        private_key_file=os.path.expanduser(key) if key else None,  # noqa: PTH111 - stays text
        ssh_common_args=arguments,
        proxied=known.proxied or any("proxy" in word.lower() or word.startswith("-J") for word in arguments),
        ssh_name=address.strip("[]") if known.by_ssh else None,
        host_key_alias=known.host_key_alias,
        become=not as_root if wish.become is None else wish.become,
        become_exe=wish.become_exe,
        become_flags=wish.become_flags,
        become_user=wish.become_user,
        become_password=wish.become_password,
        password=wish.password,
        python=interpreter(wish.python),
        local=local,
        timeout_s=wish.timeout_s,
    )
    return made, tuple(_problems(address, set_here, known))


def _ask_ssh(address: str, wish: ConnectionVariables, arguments: tuple[str, ...]) -> Configured:
    """Ask ssh, with the arguments that Ansible would use."""
    if not ADDRESS.match(address):
        return Configured()
    login = [*(["-l", wish.user] if wish.user else []), *(["-p", str(wish.port)] if wish.port else [])]
    return configured(address.strip("[]"), (*arguments, *login))


def _problems(address: str, set_here: Mapping[str, object], known: Configured) -> list[Problem]:
    found = []
    if not ADDRESS.match(address):  # the host's name; the variable has been checked
        message = f"the host name {quoted(address)} is not an address"
        found.append(Problem(("ansible_host",), message, "write ansible_host: ADDRESS"))
    if "ansible_ssh_args" in set_here:  # would replace ours, by which a play checks host keys
        message = "cannot be set: strixfleet passes its own ssh arguments"
        found.append(Problem(("ansible_ssh_args",), message, "write ansible_ssh_common_args"))
    if known.problem:
        message = f"ssh cannot read its configuration: {known.problem}"
        found.append(Problem(("ansible_host",), message, f"try `ssh -G {address}`"))
    return found
