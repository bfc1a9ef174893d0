"""How a program of a build is confined while it is measured: like the server, by the inventory alone."""

from collections.abc import Iterable

from strixfleet.inventory.schema.parts import Instance
from strixfleet.managed.llama_server import server_command, server_unit
from strixfleet.managed.machine import Machine
from strixfleet.managed.platforms.backends import backend_of
from strixfleet.on_host.describe import decides_speed
from strixfleet.on_host.questions import Json


def confined_like(
    instance: Instance | None, backend: str, *, machine: Machine, files: Iterable[str]
) -> dict[str, Json]:
    """
    Return what a run may use: the devices, environment and files of the instance's server.

    Nothing here comes from a running process, which a hostile build could have made say anything.
    """
    serving, simulated = backend_of(backend), machine.simulated is not None
    environment = dict(serving.server_environment(simulated=simulated))
    if instance is not None:
        environment = server_command.environment(instance, serving, machine)
    return {
        "devices": [*serving.control_groups],
        "write_and_execute": serving.may_write_and_execute(simulated=simulated),
        "environment": {name: value for name, value in environment.items() if decides_speed(name)},
        "files": [path for path in files if path.startswith(server_unit.HIDDEN)],
    }
