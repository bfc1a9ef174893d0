"""
How a llama-server is started on a given host.

What releases spell differently goes into the environment: llama-server ignores variables that it does not
know, but refuses unknown options. `--no-mmap` became `--load-mode none` (LLAMA_ARG_LOAD_MODE) in 2026; older
releases read LLAMA_ARG_NO_MMAP.
"""

from dataclasses import dataclass

from strixfleet.inventory.schema.parts import Instance
from strixfleet.managed.facts import Facts


SERVER = "/opt/strixfleet/llama.cpp/current/bin/llama-server"
CREDENTIAL = "api-key"
ICD = "/usr/share/vulkan/icd.d"
ANY_OF_DEVICE = {"vulkan": "Vulkan0", "rocm": "ROCm0"}


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


def threads(wish: str | None, backend: str, facts: Facts) -> str | None:
    """Return the thread count: never above the physical cores, which is also the default of a CPU backend."""
    cores = facts.physical_cores
    if wish is None:
        return str(cores) if backend == "cpu" and cores else None
    return str(min(int(wish), cores)) if cores and wish.isdigit() else wish


def command(instance: Instance, backend: str, facts: Facts, where: Listening) -> dict[str, str | None]:
    """Return the options of one instance, less model and keys, the inventory's own last and strongest."""
    options: dict[str, str | None] = {
        "alias": instance.model,
        "host": ",".join(where.addresses),
        "port": str(where.port),
        "ctx-size": str(instance.context_size),
        "metrics": None,
        "no-slots": None,  # /slots shows the prompts of all callers
    }
    if backend in ANY_OF_DEVICE:
        options |= {
            "n-gpu-layers": "999",
            "device": ANY_OF_DEVICE[backend],
        }  # no device: fails, never the CPU
    count = threads(instance.arguments.get("threads"), backend, facts)
    options |= instance.arguments | ({"threads": count} if count else {})
    if "slots" in options:
        del options["no-slots"]
    return options


def environment(instance: Instance, backend: str, facts: Facts) -> dict[str, str]:
    """Return the environment of one instance, the inventory's own strongest."""
    found = {"LLAMA_ARG_CORS_ORIGINS": "localhost"}
    if backend == "vulkan" and facts.simulated:  # no GPU there: Mesa's llvmpipe, which has to be named
        found["VK_DRIVER_FILES"] = f"{ICD}/lvp_icd.x86_64.json:{ICD}/lvp_icd.json"
        found["GGML_VK_VISIBLE_DEVICES"] = "0"
    elif backend == "vulkan":
        found["AMD_VULKAN_ICD"] = "RADV"
        found["VK_DRIVER_FILES"] = f"{ICD}/radeon_icd.x86_64.json:{ICD}/radeon_icd.json"
    if backend != "cpu":
        found["LLAMA_ARG_FIT"] = "off"  # fitting misjudges unified memory
    if backend == "rocm":
        found |= {"LLAMA_ARG_LOAD_MODE": "none", "LLAMA_ARG_NO_MMAP": "1"}
    return found | instance.environment


def may_write_and_execute(backend: str, *, simulated: bool) -> bool:
    """Tell whether memory may be writable and executable: llvmpipe compiles for the CPU, ROCm may as well."""
    return backend == "rocm" or (backend == "vulkan" and simulated)
