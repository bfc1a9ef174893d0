"""Choose the way to a host: fabric, and the system's ssh for what paramiko lacks."""

from collections.abc import Iterable

from strixfleet.hosts.fabric_remote import FabricRemote
from strixfleet.hosts.local_remote import LocalRemote
from strixfleet.hosts.openssh_remote import OpensshRemote
from strixfleet.hosts.probe import probe_argv, read_answers
from strixfleet.hosts.remote import Remote
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.on_host.questions import Answers, Question


def remote_for(host: Host, known_hosts: str) -> Remote:
    """Return the remote for a host."""
    if host.connection.local:
        return LocalRemote(host)
    if _needs_openssh(host.connection):
        return OpensshRemote(host, known_hosts)
    return FabricRemote(host, known_hosts)


def _needs_openssh(connection: Connection) -> bool:
    """Tell whether ssh's arguments or configuration go beyond address, port and user."""
    if connection.ssh_common_args:
        return True
    if connection.password is not None and not connection.proxied:
        return False  # OpenSSH would ask a terminal for it
    return connection.ssh_name is not None


def ask(remote: Remote, host: Host, questions: Iterable[Question], *, timeout_s: float = 60.0) -> Answers:
    """Answer all questions in one round trip."""
    argv = probe_argv(
        questions, root=host.settings.sandbox_hardware_root, python=host.connection.python or "python3"
    )
    result = remote.run(argv, timeout_s=timeout_s)
    return read_answers(result.stdout, host=host.name, stderr=result.stderr)
