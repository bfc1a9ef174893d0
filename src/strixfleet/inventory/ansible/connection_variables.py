"""Ansible's connection variables of one host, in any of their spellings."""

import re
import shlex
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from strixfleet.inventory.ansible.host_key_options import mistake
from strixfleet.inventory.schema.field_types import Integer, Secret, Text, has_control, quoted, refusal


ADDRESS = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9_.:%\]-]*\Z")
USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.@\\-]*\$?\Z")
LOCAL = frozenset({"local", "ansible.builtin.local"})
SSH = frozenset({"ssh", "smart", "ansible.builtin.ssh"})  # paramiko's plugin takes no ssh_args


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _word(text: str) -> str:
    """Accept what no program takes for an option."""
    if text.startswith("-"):
        raise refusal("word", f"{quoted(text)} cannot be used", "write it without a leading dash")
    return text


def _address(text: str) -> str:
    if not ADDRESS.match(text):
        raise refusal("address", f"{quoted(text)} is not an address", "write a host name or an IP address")
    return text


def _user(text: str) -> str:
    if not USER.match(text):
        raise refusal("user", f"{quoted(text)} is not a valid user name", "write it without blanks or quotes")
    return text


def _words(value: object) -> tuple[str, ...]:
    """Split text as a shell does."""
    if has_control(str(value)):
        raise refusal("words", "has a line break or a control character", "write it on one line")
    try:
        return tuple(shlex.split(str(value)))
    except ValueError as error:
        raise refusal("words", f"cannot be split into words ({error})", "close the quotes") from None


def _ssh_arguments(words: tuple[str, ...]) -> tuple[str, ...]:
    if found := mistake(words):
        raise refusal("ssh", *found)
    return words


def _connection_type(text: str) -> str:
    if text not in LOCAL | SSH:
        hint = "write ansible_connection: ssh (or local), or leave the host out with -l"
        raise refusal("connection", f"connection type {quoted(text)} is not supported", hint)
    return text


Word = Annotated[Text, BeforeValidator(_number_as_text), AfterValidator(_word)]
Address = Annotated[Word, AfterValidator(_address)]
User = Annotated[Word, AfterValidator(_user)]
ConnectionType = Annotated[Text, AfterValidator(_connection_type)]
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
SshArguments = Annotated[Words, AfterValidator(_ssh_arguments)]
Password = Annotated[Secret, BeforeValidator(_number_as_text)]


def _spelt(*names: str, default: object = None) -> Any:  # noqa: ANN401 - as pydantic's Field
    """Return a field that is read from the first of these variables that is set."""
    return Field(default=default, validation_alias=AliasChoices(*names))


class ConnectionVariables(BaseModel):
    """How the inventory and ansible.cfg have a host reached."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    connection: ConnectionType = _spelt("ansible_connection", default="ssh")
    address: Address | None = _spelt("ansible_ssh_host", "ansible_host")
    port: Annotated[Integer, Field(ge=1, le=65535)] | None = _spelt("ansible_ssh_port", "ansible_port")
    user: User | None = _spelt("ansible_ssh_user", "ansible_user")
    private_key_file: Word | None = _spelt("ansible_ssh_private_key_file", "ansible_private_key_file")
    password: Password | None = _spelt("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")
    become: bool | None = _spelt("ansible_become")
    become_method: Literal["sudo", "ansible.builtin.sudo"] = _spelt("ansible_become_method", default="sudo")
    become_user: User = _spelt("ansible_become_user", "ansible_sudo_user", default="root")
    become_flags: Words = _spelt("ansible_become_flags", "ansible_sudo_flags", default=())
    become_exe: Word | None = _spelt("ansible_become_exe", "ansible_sudo_exe")
    become_password: Password | None = _spelt(
        "ansible_become_password", "ansible_become_pass", "ansible_sudo_password", "ansible_sudo_pass"
    )
    python: Word | None = _spelt("ansible_python_interpreter")
    timeout_s: Annotated[Integer, Field(ge=1, le=600)] = _spelt(
        "ansible_ssh_timeout", "ansible_timeout", default=10
    )
    ssh_args: SshArguments = _spelt("ansible_ssh_args", default=())
    ssh_common_args: SshArguments = _spelt("ansible_ssh_common_args", default=())
    ssh_extra_args: SshArguments = _spelt("ansible_ssh_extra_args", default=())


ALL_NAMES = frozenset(
    str(name)
    for field in ConnectionVariables.model_fields.values()
    if isinstance(field.validation_alias, AliasChoices)
    for name in field.validation_alias.choices
)
