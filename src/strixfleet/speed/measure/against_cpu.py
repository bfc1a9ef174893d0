"""Compare the GPU with the CPU of the same host: by how much it is faster, if it is."""

from collections.abc import Iterable
from dataclasses import dataclass

from strixfleet.on_host.questions import Json
from strixfleet.speed.measure.llama_bench import BenchRow


@dataclass(frozen=True, slots=True)
class AgainstCpu:
    """The speed of one test of one model on the GPU and on the CPU."""

    model: str
    test: str
    gpu_tps: float
    cpu_tps: float

    @property
    def ratio(self) -> float:
        """Return how many times as fast the GPU is."""
        return self.gpu_tps / self.cpu_tps

    def to_json(self) -> dict[str, Json]:
        """Return a row for scripts."""
        speeds: dict[str, Json] = {"tps": round(self.cpu_tps, 4), "ratio": round(self.ratio, 4)}
        return {"model": self.model, "test": self.test, **speeds}

    def __str__(self) -> str:
        """Return the comparison in words."""
        what = f"{self.model}: {'prefill' if self.test.startswith('pp') else 'decode'} on the CPU"
        if self.ratio < 1:
            return f"warning: {what}: {self.cpu_tps:.2f} t/s, the GPU reaches only {self.gpu_tps:.2f}"
        return f"{what}: {self.cpu_tps:.2f} t/s, the GPU is {self.ratio:.1f} times as fast"


def against_cpu(model: str, gpu: Iterable[BenchRow], cpu: Iterable[BenchRow]) -> tuple[AgainstCpu, ...]:
    """Pair the tests of both runs; leave out runs that computed on the wrong device."""
    on_cpu = {row.test: row.measured_tps for row in cpu if not row.used_gpu}
    on_gpu = {row.test: row.measured_tps for row in gpu if row.used_gpu}
    return tuple(
        AgainstCpu(model, test, tps, on_cpu[test])
        for test, tps in on_gpu.items()
        if tps > 0 and on_cpu.get(test, 0.0) > 0
    )
