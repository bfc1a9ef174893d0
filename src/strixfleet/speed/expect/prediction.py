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
    """
    Whether a model fits, and how fast it is.

    `decode` is None where there is no speed to expect, and `no_speed` says why. `partial` is the speed with
    some layers on the CPU, of a model that fits in no other way.
    """

    shape: ModelShape
    memory: MemoryFit
    decode: Expectation | None
    partial: Expectation | None = None
    no_speed: str = ""
    notes: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """Write out how speed and memory are computed."""
        notes = "".join(f". {note}" for note in self.notes)
        found = self.decode or self.partial
        speed = ": ".join(filter(None, (self.no_speed, found.reason if found else "")))
        return f"{speed}. Memory: {self.memory.in_words()}{notes}"


def predict(shape: ModelShape, setting: Setting, library: Library) -> Prediction:
    """Predict from shape and setting; published references are used for Strix Halo only."""
    memory = memory_fit(shape, setting.context, setting.available_bytes, setting.system_bytes)
    if shape.not_generating:
        why = f"no speed: it is a {shape.not_generating}, which does not generate text"
        return Prediction(shape, memory, None, no_speed=why)
    decode = expected_decode(shape, setting, library)
    if memory.fits:
        return Prediction(shape, memory, decode, notes=decode.notes)
    runs_in_part = memory.fits_in_part and memory.layers_on_gpu and setting.backend != "cpu"
    partial = _in_part(shape, setting, memory, decode) if runs_in_part else None
    return Prediction(shape, memory, None, partial, "no speed: the model does not fit", decode.notes)


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
