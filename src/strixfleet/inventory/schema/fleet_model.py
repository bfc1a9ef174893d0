"""The fleet as the inventory describes it: hosts, how to reach them, and where each value is written."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

from strixfleet.errors import Mistake
from strixfleet.inventory.schema.settings import HostSettings


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value of the inventory is written; line 0 when only the file is known."""

    file: str
    line: int = 0
    templated: bool = False

    def __str__(self) -> str:
        """Return `file:line`."""
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Connection:
    """
    How a host is reached, from Ansible's connection variables and ssh's own configuration.

    `ssh_name` is the name to give to ssh when its configuration has more than address, port and user for it;
    `host_key_alias` is the name of its key there; `proxied` means not reached directly.
    """

    address: str
    port: int = 22
    user: str | None = None
    private_key_file: str | None = None
    ssh_common_args: tuple[str, ...] = ()
    proxied: bool = False
    ssh_name: str | None = None
    host_key_alias: str | None = None
    become: bool = False
    become_exe: str | None = None
    become_flags: tuple[str, ...] = ()
    become_user: str = "root"
    become_password: SecretStr | None = None
    password: SecretStr | None = None
    python: str | None = None
    local: bool = False
    timeout_s: int = 10


@dataclass(frozen=True, slots=True)
class Host:
    """One host of the fleet."""

    name: str
    connection: Connection
    settings: HostSettings
    groups: tuple[str, ...] = ()
    origins: Mapping[str, Origin] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fleet:
    """The hosts that a verb works on."""

    hosts: tuple[Host, ...]
    source: tuple[str, ...] = ()
    known_hosts: str = ""
    warnings: tuple[Mistake, ...] = ()

    def host(self, name: str) -> Host:
        """Return the host of that name."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)
