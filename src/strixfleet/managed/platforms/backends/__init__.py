"""What llama.cpp computes with: one file a backend, and nothing elsewhere that goes by a backend's name."""

from strixfleet.managed.platforms.backends.backend import Backend
from strixfleet.managed.platforms.backends.cpu import CPU
from strixfleet.managed.platforms.backends.rocm import ROCM
from strixfleet.managed.platforms.backends.vulkan import VULKAN


BACKENDS: dict[str, Backend] = {one.name: one for one in (VULKAN, ROCM, CPU)}


def backend_of(name: str) -> Backend:
    """Return a backend by its name in the inventory."""
    return BACKENDS[name]


__all__ = ["BACKENDS", "Backend", "backend_of"]
