"""What a test needs, read from its code and its fixtures, so that `make unit` leaves it out by itself."""

import inspect
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType

import pytest


# Modules that a test, a fixture of it or a function of its file names: what it needs then.
NEEDS = {
    "ansible": "ansible",
    "strixfleet.inventory.load": "ansible",
    "strixfleet.inventory.ansible": "ansible",
    "strixfleet.inventory.host_entries": "ansible",
    "strixfleet.cli": "ansible",
    "tests.plugins": "ansible",
    "strixfleet.fleet.controller_files": "programs",
    "strixfleet.hosts.fabric_remote": "programs",
    "strixfleet.hosts.host_program": "programs",
    "strixfleet.hosts.local_remote": "programs",
    "strixfleet.hosts.openssh_remote": "programs",
    "strixfleet.hosts.reach": "programs",
    "strixfleet.on_host.switch.strixfleet_host": "programs",
    "strixfleet.rollout.sole_operator": "programs",
    "strixfleet.sandbox.llama_source": "programs",
    "strixfleet.tools": "programs",
    "subprocess": "programs",
}


def needs_of(item: pytest.Function) -> set[str]:
    """Return the markers for what a test needs."""
    fixtures = [found[-1].func for found in item._fixtureinfo.name2fixturedefs.values()]
    used = {name for function in (item.function, *fixtures) for name in _modules_used(function, set())}
    return {need for module, need in NEEDS.items() for name in used if f"{name}.".startswith(f"{module}.")}


def _modules_used(function: object, seen: set[object]) -> Iterator[str]:
    """Return the modules that a function names, and those that functions and classes of our tests name."""
    function = inspect.unwrap(function) if callable(function) else function
    if not isinstance(function, FunctionType) or function in seen:
        return
    seen.add(function)
    for name in _names(function.__code__):
        yield name  # an import inside of the function
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType):
            yield value.__name__
            continue
        module = getattr(value, "__module__", None)
        if not isinstance(module, str):
            continue
        yield module
        if module.startswith("test"):
            methods = vars(value).values() if isinstance(value, type) else (value,)
            for method in methods:
                yield from _modules_used(method, seen)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


class Watch:
    """Sees what a test really does, so that none slips into `make unit` that needs more than Python."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "subprocess.Popen":
            self.seen.add("programs")
        elif event == "import" and arguments[0] == "ansible":
            self.seen.add("ansible")
