"""Predict memory use and speed of a model on a machine."""

from dataclasses import dataclass, replace

from strixfleet.findings.expectation import Basis, Expectation
from strixfleet.speed.expect.references import Library, informed
from strixfleet.speed.expect.roofline import Machine, ceiling_tps, decode_times, expect
from strixfleet.speed.model.memory_fit import MemoryFit, memory_fit
from strixfleet.speed.model.model_shape import ModelShape


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and how a model runs; memory in bytes, context and depth in tokens."""

    machine: Machine
    backend: str
    available_bytes: int  # where the backend allocates
    system_bytes: int  # what GPU and CPU can use together
    context: int = 4096
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Prediction:
    """Whether a model fits, and how fast it is."""

    shape: ModelShape
    memory: MemoryFit
    decode: Expectation

    @property
    def reason(self) -> str:
        """Write out how speed and memory are computed."""
        notes = "".join(f". {note}" for note in self.decode.notes)
        return f"{self.decode.reason}. Memory: {self.memory.in_words()}{notes}"


def predict(shape: ModelShape, setting: Setting, library: Library) -> Prediction:
    """Predict from shape and setting; published references are used for Strix Halo only."""
    memory = memory_fit(shape, setting.context, setting.available_bytes, setting.system_bytes)
    decode = expected_decode(shape, setting, library)
    if memory.fits_in_part and setting.backend != "cpu":
        decode = _in_part(shape, setting, memory, decode)
    return Prediction(shape, memory, decode)


def expected_decode(shape: ModelShape, setting: Setting, library: Library) -> Expectation:
    """Predict decode speed with all layers on the backend's device."""
    machine, backend = setting.machine, setting.backend
    start = expect(shape, machine, backend)
    if machine.halo and not machine.measured:
        start = informed(start, shape, library.of(shape, backend))
    if not setting.depth:
        return start
    times = decode_times(shape, machine, backend, setting.depth)
    expected = 1e3 / (1e3 / start.expected_tps + times.kv_ms)
    words = f"at depth {setting.depth} the cache adds {times.kv_ms:.1f} ms: {expected:.2f} t/s"
    return replace(
        start,
        expected_tps=expected,
        ceiling_tps=ceiling_tps(shape, machine, setting.depth),
        basis=Basis.DENSE if start.basis is Basis.REFERENCE else start.basis,
        reason=f"{start.reason}; {words}",
    )


def _in_part(shape: ModelShape, setting: Setting, memory: MemoryFit, on_gpu: Expectation) -> Expectation:
    """Add the time of the layers that do not fit and run on the CPU."""
    share = memory.layers_on_gpu / shape.layers
    cpu_ms = decode_times(shape, setting.machine, "cpu", setting.depth).total_ms
    total_ms = share * 1e3 / on_gpu.expected_tps + (1 - share) * cpu_ms
    words = (
        f"with {memory.layers_on_gpu} of {shape.layers} layers on the GPU, the rest at {1e3 / cpu_ms:.2f} t/s"
    )
    return replace(
        on_gpu,
        expected_tps=1e3 / total_ms,
        basis=Basis.UNCERTAIN,
        reason=f"{on_gpu.reason}; {words}: {1e3 / total_ms:.2f} t/s",
    )
