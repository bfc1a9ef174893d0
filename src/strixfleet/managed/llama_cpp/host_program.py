"""The program on the host that switches builds, its modules, and the timer that ends unconfirmed builds."""

from collections.abc import Iterator
from importlib.resources import files

from strixfleet.managed.things.file import Absent, File, Template
from strixfleet.managed.things.thing import Thing
from strixfleet.managed.things.unit import Unit


HOST_PROGRAM = "/opt/strixfleet/lib/strixfleet-host"
HOST_MODULES = "/opt/strixfleet/lib/strixfleet/on_host/switch"
OLD_MODULES = "/opt/strixfleet/lib/strixfleet/host"  # where they were in 0.1
TIMER = "strixfleet-revert.timer"
UNIT_FILES = tuple(f"/etc/systemd/system/{name}" for name in ("strixfleet-revert.service", TIMER))


def shipped(package: str, name: str) -> str:
    """Return the text of a file of ours that is copied to hosts."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def _module_names() -> tuple[str, ...]:
    """Name the modules of the host program, which it finds beside itself."""
    names = (entry.name for entry in files("strixfleet.on_host.switch").iterdir())
    return tuple(sorted(name for name in names if name.endswith(".py") and name != "strixfleet_host.py"))


def host_program() -> Iterator[Thing]:
    """Return the program, its modules, its units, the timer running; and the modules of old gone."""
    package = "strixfleet.on_host.switch"
    yield File(
        id=f"llama_cpp:{HOST_PROGRAM}",
        path=HOST_PROGRAM,
        source=shipped(package, "strixfleet_host.py"),
        mode="0755",
    )
    for name in _module_names():
        path = f"{HOST_MODULES}/{name}"
        yield File(id=f"llama_cpp:{path}", path=path, source=shipped(package, name))
    yield Absent(id=f"llama_cpp:{OLD_MODULES}", path=OLD_MODULES)
    for path in UNIT_FILES:
        yield File(id=f"llama_cpp:{path}", path=path, source=Template(f"host{path}.j2"))
    yield Unit(id=f"llama_cpp:{TIMER}", name=TIMER)
