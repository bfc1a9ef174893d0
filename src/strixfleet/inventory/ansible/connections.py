"""Ansible's connection variables and ansible.cfg's defaults, as our Connection."""

import os
import re
from collections.abc import Mapping

from strixfleet.inventory.ansible.connection_reader import Reader
from strixfleet.inventory.ansible.ssh_config import Configured, configured
from strixfleet.inventory.schema.field_types import quoted
from strixfleet.inventory.schema.fleet_model import Connection
from strixfleet.inventory.schema.problems import Problem


ADDRESS = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9_.:%\]-]*\Z")
USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.@\\-]*\$?\Z")
SSH_CONNECTIONS = frozenset({"ssh", "smart", "ansible.builtin.ssh"})  # paramiko's plugin takes no ssh_args
LOCAL_CONNECTIONS = frozenset({"local", "ansible.builtin.local"})


def _configured(
    reader: Reader, address: str, login: tuple[str | None, int], arguments: tuple[str, ...]
) -> Configured:
    """Ask ssh, with the arguments that Ansible would use."""
    if reader.problems:
        return Configured()
    user, port = login
    told = [*(["-l", user] if user else []), *(["-p", str(port)] if port else [])]
    known = configured(address.strip("[]"), (*arguments, *told))
    if known.problem:
        hint = f"try `ssh -G {address}`"
        reader.refuse("ansible_host", f"ssh cannot read its configuration: {known.problem}", hint)
    return known


def _is_local(reader: Reader) -> bool:
    kind = reader.text("connection", default="ssh") or "ssh"
    if kind not in LOCAL_CONNECTIONS | SSH_CONNECTIONS:
        hint = "write ansible_connection: ssh (or local), or leave the host out with -l"
        reader.refuse("ansible_connection", f"connection type {quoted(kind)} is not supported", hint)
    return kind in LOCAL_CONNECTIONS


def _address(reader: Reader, name: str) -> str:
    address = reader.text("address", ADDRESS)
    if address is None and not reader.problems and not ADDRESS.match(name):
        message = f"the host name {quoted(name)} is not an address"
        reader.refuse("ansible_host", message, "write ansible_host: ADDRESS")
    return address or name


def _refuse_other_methods(reader: Reader) -> None:
    method = reader.text("become_method", default="sudo") or "sudo"
    if method not in {"sudo", "ansible.builtin.sudo"}:
        reader.refuse(
            "ansible_become_method", f"become method {quoted(method)} is not supported", "write sudo"
        )


def connection(
    name: str, values: Mapping[str, object], defaults: Mapping[str, object]
) -> tuple[Connection, tuple[Problem, ...]]:
    """Make a host's Connection; `defaults` are ansible.cfg's, under the same variable names."""
    reader = Reader({**{key: item for key, item in defaults.items() if item is not None}, **values})
    local = _is_local(reader)
    user = reader.text("user", USER)
    address = _address(reader, name)
    arguments = reader.arguments()
    if values.get("ansible_ssh_args"):  # would take the place of ours, by which a play checks host keys
        reader.refuse(
            "ansible_ssh_args",
            "cannot be set: strixfleet passes its own ssh arguments",
            "write ansible_ssh_common_args",
        )
    port = reader.number("port", 0, 65535)
    known = Configured() if local else _configured(reader, address, (user, port), arguments)
    user = user or known.user
    _refuse_other_methods(reader)
    key, python = reader.text("key"), reader.text("python")
    as_root = os.geteuid() == 0 if local else user == "root"
    made = Connection(
        address=(known.address or address).strip("[]"),
        port=port or known.port or 22,
        user=user,
        private_key_file=os.path.expanduser(key) if key else None,  # noqa: PTH111 - stays text
        ssh_common_args=arguments,
        proxied=known.proxied or any("proxy" in word.lower() or word.startswith("-J") for word in arguments),
        ssh_name=address.strip("[]") if known.by_ssh else None,
        host_key_alias=known.host_key_alias,
        become=reader.switch("become", default=not as_root),
        become_exe=reader.text("become_exe"),
        become_flags=reader.words("become_flags"),
        become_user=reader.text("become_user", USER, "root") or "root",
        become_password=reader.secret("become_password"),
        password=reader.secret("password"),
        python=None if (python or "auto").startswith("auto") else python,
        local=local,
        timeout_s=reader.number("timeout", 10, 600),
    )
    return made, tuple(reader.problems)
