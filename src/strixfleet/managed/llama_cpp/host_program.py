"""The program on the host that switches builds, its modules, and the timer that ends unconfirmed builds."""

from collections.abc import Iterator
from functools import cache

from strixfleet.managed.things.file import Absent, File, Link, Template
from strixfleet.managed.things.thing import Thing
from strixfleet.managed.things.unit import Unit
from strixfleet.on_host import sources


LIBRARY = "/opt/strixfleet/lib"
HOST_PROGRAM = f"{LIBRARY}/strixfleet-host"
HOST_MODULES = f"{LIBRARY}/strixfleet/on_host"
OLD_MODULES = f"{LIBRARY}/strixfleet/host"  # where versions before the rooms had them
PROGRAM = "switch.strixfleet_host"
TIMER = "strixfleet-revert.timer"
UNITS = "/etc/systemd/system"
AT_BOOT = "strixfleet-revert-boot.service"
UNIT_FILES = tuple(f"{UNITS}/{name}" for name in ("strixfleet-revert.service", AT_BOOT, TIMER))
ENABLED_AT_BOOT = f"{UNITS}/multi-user.target.wants/{AT_BOOT}"  # it runs at boot alone, so it is never active


@cache
def host_program() -> tuple[Thing, ...]:
    """Return the program, written after what it imports; its units, the timer running; old modules gone."""
    return tuple(_things())


def _things() -> Iterator[Thing]:
    for module in sources.needed(PROGRAM)[:-1]:
        name = sources.path_of(module)
        path = f"{HOST_MODULES}/{name}"
        yield File(id=f"llama_cpp:{path}", path=path, source=sources.text(name))
    program = sources.text(sources.path_of(PROGRAM))
    yield File(id=f"llama_cpp:{HOST_PROGRAM}", path=HOST_PROGRAM, source=program, mode="0755")
    yield Absent(id=f"llama_cpp:{OLD_MODULES}", path=OLD_MODULES)
    for path in UNIT_FILES:
        yield File(id=f"llama_cpp:{path}", path=path, source=Template(f"host{path}.j2"))
    yield Link(id=f"llama_cpp:{ENABLED_AT_BOOT}", path=ENABLED_AT_BOOT, target=f"{UNITS}/{AT_BOOT}")
    yield Unit(id=f"llama_cpp:{TIMER}", name=TIMER)
