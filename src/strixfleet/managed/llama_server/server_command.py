"""
How a llama-server is started on a given host.

What releases spell differently goes into the environment: llama-server ignores variables that it does not
know, but refuses unknown options. `--no-mmap` became `--load-mode none` (LLAMA_ARG_LOAD_MODE) in 2026; older
releases read LLAMA_ARG_NO_MMAP.
"""

from dataclasses import dataclass

from strixfleet.inventory.schema.parts import Instance
from strixfleet.managed.machine import Machine
from strixfleet.managed.platforms.backends import Backend


SERVER = "/opt/strixfleet/llama.cpp/current/bin/llama-server"
CREDENTIAL = "api-key"


@dataclass(frozen=True, slots=True)
class Listening:
    """Where an instance answers: the addresses it binds, and the one that the host itself asks."""

    addresses: tuple[str, ...]
    port: int

    @property
    def url(self) -> str:
        """Return the base address for questions from the host itself."""
        first = self.addresses[0]
        return f"http://{_bracketed(first)}:{self.port}"

    @property
    def bound(self) -> tuple[str, ...]:
        """Return `address:port` as `ss` shows it."""
        return tuple(f"{_bracketed(address)}:{self.port}" for address in self.addresses)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def listening(instance: Instance, tailnet_address: str | None = None) -> Listening:
    """Settle the addresses; `tailnet` is loopback too, and that alone while there is no tailnet address."""
    if instance.host == "tailnet":
        more = (tailnet_address,) if tailnet_address else ()
        return Listening(("127.0.0.1", *more), instance.port)
    return Listening(("127.0.0.1" if instance.host == "localhost" else instance.host,), instance.port)


def threads(wish: str | None, serving: Backend, cores: int) -> str | None:
    """Return the thread count: never above the physical cores, which is also the default without a GPU."""
    if wish is None:
        return str(cores) if not serving.graphics and cores else None
    return str(min(int(wish), cores)) if cores and wish.isdigit() else wish


def command(instance: Instance, serving: Backend, cores: int, where: Listening) -> dict[str, str | None]:
    """Return the options of one instance, less model and keys, the inventory's own last and strongest."""
    options: dict[str, str | None] = {
        "alias": instance.model,
        "host": ",".join(where.addresses),
        "port": str(where.port),
        "ctx-size": str(instance.context_size),
        "metrics": None,
        "no-slots": None,  # /slots shows the prompts of all callers
    }
    if serving.any_device:  # where there is no such device the server fails, and never falls back to the CPU
        options |= {"n-gpu-layers": "999", "device": instance.device or serving.any_device}
    count = threads(instance.arguments.get("threads"), serving, cores)
    options |= instance.arguments | ({"threads": count} if count else {})
    if "slots" in options:
        del options["no-slots"]
    return options


def environment(instance: Instance, serving: Backend, machine: Machine) -> dict[str, str]:
    """
    Return the environment of one instance, the inventory's own strongest.

    Beside another card the APU need not be the first device: the others are hidden from an instance that
    names no device of its own.
    """
    own = serving.server_environment(simulated=machine.simulated is not None)
    named = instance.device or instance.arguments.get("device")
    chosen = serving.choose_gpu(machine.gpu_id, machine.gpu_number) if machine.gpu_id and not named else {}
    return {"LLAMA_ARG_CORS_ORIGINS": "localhost", **own, **chosen, **instance.environment}
