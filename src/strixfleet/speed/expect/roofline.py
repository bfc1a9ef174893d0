"""
Predict decode speed from the work that one token causes.

    t = bytes_read x cost of their type's class                    (memory)
      + 2 x recurrent state x cost                                 (read and written)
      + operations x cost of one                                   (a fixed cost per tensor, not a bandwidth)
      + recurrent layers x their extra cost                        (their scans are many small operations)
      + KV cache read at a depth x its cost

Published measurements show a fixed cost per layer in addition to bandwidth. Counting it per operation (one
for a matrix, a half for a norm) instead of per layer halves the error for mixtures of experts, as
benchmarks/roofline/leave_one_family_out.py shows. The constants are in `roofline_costs`.
"""

from dataclasses import dataclass
from math import inf

from strixfleet.errors import UsageError
from strixfleet.findings.expectation import Basis, Expectation
from strixfleet.speed.expect.roofline_costs import BACKENDS, HALO_GB_S, Costs, type_class
from strixfleet.speed.model.model_shape import ModelShape


_GB = 1e9
_OTHER_GPU = 0.92  # the 890M reads 70 to 76 of 89.6 GB/s where the 8060S reads 227 of 256
_CPU_SHARE_OF_BUS = 0.37  # 27B Q6_K on 16 Zen 5 cores: 4.43 t/s of 21 GB; STREAM triad 112.6 of 256 GB/s
_CPU_SHARE_OF_MEASURED = 0.85
_CPU_OPERATION_MS = 0.010  # guess: one barrier over all threads
_MEASURED_HEADROOM = 1.25  # a measured bandwidth is not a physical limit
_CACHED_BYTES = 1_000_000_000  # smaller models may be read from caches in part
_LATENT_KV = 2.0  # the latent cache of MLA is read twice: as keys and as values
_TINY_BITS = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "TQ1_0", "TQ2_0", "Q1_0"})
_SHOWN_MS = 0.05
_UNMEASURED_SHARE = 0.3  # above this share of bytes in types without measurements, the result is uncertain


@dataclass(frozen=True, slots=True)
class Machine:
    """The memory bandwidth, whether it was measured, and whether the GPU is that of a Strix Halo."""

    bandwidth_gb_s: float
    measured: bool = False
    halo: bool = True


@dataclass(frozen=True, slots=True)
class Times:
    """The parts of the time for one token."""

    plain_ms: float
    types_ms: float
    operations_ms: float
    recurrent_ms: float
    kv_ms: float

    @property
    def total_ms(self) -> float:
        """Return the sum."""
        return self.plain_ms + self.types_ms + self.operations_ms + self.recurrent_ms + self.kv_ms


def costs_of(backend: str) -> Costs | None:
    """Return a GPU backend's constants; None for the CPU."""
    if backend == "cpu":
        return None
    if backend not in BACKENDS:
        known = ", ".join((*BACKENDS, "cpu"))
        raise UsageError(f"backend {backend!r} is not known", hint=f"one of {known}")
    return BACKENDS[backend]


def quantities(shape: ModelShape) -> dict[str, float]:
    """Return the factors of the constants: GB in total and by class, operations, recurrent layers."""
    found = {"gb": (shape.bytes_read_per_token + 2 * shape.state_bytes) / _GB}
    for read in shape.reads:
        name = type_class(read.type_name, routed=read.routed)
        found[name] = found.get(name, 0.0) + read.size_bytes / _GB
    return found | {"operations": shape.operations, "recurrent_layers": float(shape.recurrent_layers)}


def gpu_times(shape: ModelShape, costs: Costs, machine: Machine, depth: int = 0) -> Times:
    """Apply a GPU backend's constants; the memory part scales with the bandwidth."""
    amounts = quantities(shape)
    slower = HALO_GB_S / machine.bandwidth_gb_s / (1.0 if machine.halo else _OTHER_GPU)
    more = sum(amounts.get(name, 0.0) * cost for name, cost in costs.more_ms_per_gb.items())
    latent = _LATENT_KV if shape.latent_kv else 1.0
    return Times(
        plain_ms=amounts["gb"] * costs.ms_per_gb * slower,
        types_ms=more * slower,
        operations_ms=amounts["operations"] * costs.operation_ms,
        recurrent_ms=amounts["recurrent_layers"] * costs.recurrent_layer_ms,
        kv_ms=shape.kv_read_bytes(depth) / _GB * costs.kv_ms_per_gb * latent * slower,
    )


def cpu_times(shape: ModelShape, machine: Machine, depth: int = 0) -> Times:
    """Apply the CPU's share of the bandwidth, or most of it if it was measured on the CPU."""
    share = _CPU_SHARE_OF_MEASURED if machine.measured else _CPU_SHARE_OF_BUS
    ms_per_gb = 1e3 / (machine.bandwidth_gb_s * share)
    amounts = quantities(shape)
    kv_ms = shape.kv_read_bytes(depth) / _GB * ms_per_gb
    return Times(amounts["gb"] * ms_per_gb, 0.0, amounts["operations"] * _CPU_OPERATION_MS, 0.0, kv_ms)


def decode_times(shape: ModelShape, machine: Machine, backend: str, depth: int = 0) -> Times:
    """Return the parts of one token's time on a backend."""
    costs = costs_of(backend)
    return cpu_times(shape, machine, depth) if costs is None else gpu_times(shape, costs, machine, depth)


def ceiling_tps(shape: ModelShape, machine: Machine, depth: int = 0) -> float:
    """
    Return the speed that this memory cannot exceed: bandwidth / bytes per token.

    A measured bandwidth gets some headroom; a small model that fits in caches has no ceiling then.
    """
    read_bytes = shape.bytes_read_per_token + shape.kv_read_bytes(depth)
    if read_bytes < _CACHED_BYTES and machine.measured:
        return inf
    return machine.bandwidth_gb_s * (_MEASURED_HEADROOM if machine.measured else 1.0) * _GB / read_bytes


def expect(shape: ModelShape, machine: Machine, backend: str, depth: int = 0) -> Expectation:
    """Predict decode speed by the formula alone, with the calculation in words."""
    times = decode_times(shape, machine, backend, depth)
    expected, ceiling = 1e3 / times.total_ms, ceiling_tps(shape, machine, depth)
    notes = tuple(_notes(shape, backend))
    basis = Basis.UNCERTAIN if notes else Basis.MOE if shape.experts else Basis.DENSE
    return Expectation(expected, ceiling, basis, in_words(shape, machine, times, ceiling), notes)


def in_words(shape: ModelShape, machine: Machine, times: Times, ceiling: float) -> str:
    """Write the calculation out."""
    read_gb, moved_gb = shape.bytes_read_per_token / _GB, quantities(shape)["gb"]
    rate = moved_gb / times.plain_ms * 1e3
    state = f" (and {moved_gb - read_gb:.2f} GB of recurrent state)" if shape.state_bytes else ""
    share = f"{rate:.0f} GB/s, {rate / machine.bandwidth_gb_s:.0%} of {machine.bandwidth_gb_s:g}"
    parts = [f"{read_gb:.2f} GB per token{state} at {share} = {times.plain_ms:.1f} ms"]
    if times.types_ms >= _SHOWN_MS:
        parts.append(f"{times.types_ms:.1f} ms extra for their types")
    parts.append(f"{shape.operations:.0f} operations = {times.operations_ms:.1f} ms")
    if times.recurrent_ms >= _SHOWN_MS:
        parts.append(f"{shape.recurrent_layers} recurrent layers = {times.recurrent_ms:.1f} ms")
    if times.kv_ms >= _SHOWN_MS:
        parts.append(f"KV cache at this depth = {times.kv_ms:.1f} ms")
    total = f"total {times.total_ms:.1f} ms = {1e3 / times.total_ms:.2f} t/s"
    limit = (
        "" if ceiling == inf else f"; at most {machine.bandwidth_gb_s:g} / {read_gb:.2f} = {ceiling:.2f} t/s"
    )
    return " + ".join(parts) + f"; {total}{limit}"


def _notes(shape: ModelShape, backend: str) -> list[str]:
    """List what makes the formula uncertain."""
    amounts = quantities(shape)
    notes = []
    if amounts.get("sixteen_bit_experts", 0.0) and backend == "vulkan":
        notes.append(
            "16-bit experts run about three times slower on Vulkan than their size suggests: "
            "use ROCm, or a file with Q8_0 experts"
        )
    tiny = sum(read.size_bytes for read in shape.reads if read.type_name in _TINY_BITS)
    if tiny > _UNMEASURED_SHARE * shape.bytes_read_per_token:
        notes.append("types of two bits and less were not measured: they may be slower than predicted")
    if backend == "cpu":
        notes.append("CPU speed depends on threads and other load, so this is a rough figure")
    return notes
