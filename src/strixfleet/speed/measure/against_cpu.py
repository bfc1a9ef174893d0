"""The GPU against the CPU of the same host: what computing there is worth, or that it costs."""

from collections.abc import Iterable
from dataclasses import dataclass

from strixfleet.on_host.questions import Json
from strixfleet.speed.judge.slow_causes import Reason
from strixfleet.speed.measure.llama_bench import BenchRow


_WEIGHT = 0.6  # ranks first: what makes a GPU slower than the CPU beside it takes more than half


@dataclass(frozen=True, slots=True)
class AgainstCpu:
    """One test of one model on both."""

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

    def reasons(self, host: str) -> tuple[Reason, ...]:
        """Return a reason to look at the GPU where the CPU is faster."""
        if self.ratio >= 1:
            return ()
        evidence = f"{self.test}: {self.cpu_tps:.2f} t/s on the CPU, {self.gpu_tps:.2f} on the GPU"
        cure = f"look at driver, GTT, carve-out and clocks: strixfleet audit -l {host}"
        return (Reason("the CPU is faster than the GPU", evidence, cure, _WEIGHT),)


def against_cpu(model: str, gpu: Iterable[BenchRow], cpu: Iterable[BenchRow]) -> tuple[AgainstCpu, ...]:
    """Pair the tests of both runs; a run that did not compute where it should is left out."""
    on_cpu = {row.test: row.measured_tps for row in cpu if not row.used_gpu}
    on_gpu = {row.test: row.measured_tps for row in gpu if row.used_gpu}
    return tuple(
        AgainstCpu(model, test, tps, on_cpu[test])
        for test, tps in on_gpu.items()
        if tps > 0 and on_cpu.get(test, 0.0) > 0
    )
