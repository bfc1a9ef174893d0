"""The arguments of llama-bench, its results, and whether the right device computed them."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Annotated

from pydantic import Field

from strixfleet.inventory.schema.parts import SmokeBench
from strixfleet.managed.platforms.backends import backend_of
from strixfleet.on_host import json_text
from strixfleet.speed.measure.answer_types import Count, Shown, Speed, UnreadableAnswerError, read_as


MOST_SAMPLES = 1000
SOFTWARE_DRIVERS = ("llvmpipe", "lavapipe", "SwiftShader")


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One test of llama-bench; `gpu` is empty if there is no GPU."""

    test: str
    samples_tps: tuple[float, ...]
    backends: str
    gpu: str
    cpu: str
    devices: str
    gpu_layers: int

    @property
    def device(self) -> str:
        """Name the device that computed."""
        return self.gpu or self.cpu or "unknown"

    @property
    def used_gpu(self) -> bool:
        """Tell whether a GPU computed: llama-bench names it even if `-dev none` left it out."""
        return bool(self.gpu) and self.devices != "none" and self.gpu_layers != 0

    @property
    def measured_tps(self) -> float:
        """Return the median."""
        return median(self.samples_tps)


class BenchUnreadableError(ValueError):
    """The output of llama-bench cannot be read."""


def bench_arguments(model_path: str, smoke: SmokeBench, options: Iterable[str]) -> list[str]:
    """Return llama-bench's arguments."""
    return [
        *("-m", model_path, "-o", "json"),
        *("-p", str(smoke.prompt_tokens), "-n", str(smoke.generate_tokens), "-r", str(smoke.repetitions)),
        *options,
    ]


@dataclass(frozen=True, slots=True)
class _JsonRow:
    """One test in llama-bench's own words."""

    samples_ts: Annotated[tuple[Speed, ...], Field(min_length=1, max_length=MOST_SAMPLES)]
    n_prompt: Count = 0
    n_gen: Count = 0
    n_depth: Count = 0
    backends: Shown = ""
    gpu_info: Shown = ""
    cpu_info: Shown = ""
    devices: Shown = ""
    n_gpu_layers: Count = 0


def parse_bench(text: str) -> tuple[BenchRow, ...]:
    """Read llama-bench's JSON, which may follow other output; raise BenchUnreadableError if it cannot be."""
    start = text.find("[")
    try:
        rows = json_text.parsed(text[start:]) if start >= 0 else None
    except ValueError as problem:
        raise BenchUnreadableError(f"the output of llama-bench is not JSON: {problem}") from None
    if not isinstance(rows, list) or not rows:
        raise BenchUnreadableError("llama-bench printed no results")
    try:
        return tuple(_row(read_as(_JsonRow, row)) for row in rows)
    except UnreadableAnswerError as problem:
        raise BenchUnreadableError(f"a result of llama-bench cannot be read: {problem}") from None


def _row(row: _JsonRow) -> BenchRow:
    return BenchRow(
        test=test_name(row.n_prompt, row.n_gen, row.n_depth),
        samples_tps=row.samples_ts,
        backends=row.backends,
        gpu=row.gpu_info,
        cpu=row.cpu_info,
        devices=row.devices,
        gpu_layers=row.n_gpu_layers,
    )


def test_name(prompt_tokens: int, generate_tokens: int, depth: int) -> str:
    """Name a test as llama-bench's own tables do: pp512, tg128, tg128 @ d4096."""
    parts = [f"pp{prompt_tokens}"] if prompt_tokens else []
    parts += [f"tg{generate_tokens}"] if generate_tokens else []
    return "+".join(parts) + (f" @ d{depth}" if depth else "")


def wrong_device(row: BenchRow, backend: str, *, amd: bool, software: bool = False) -> str:
    """
    Return the evidence that the wrong device computed; empty if the right one did.

    A build for Vulkan that finds no driver runs on the CPU and still reports `backends: Vulkan`, with an
    empty `gpu_info`. With `amd`, the Vulkan driver must be RADV, which is part of the device's name. With
    `software`, for hosts that only simulate a GPU, a software driver is right.
    """
    reported = f"llama-bench reports backends {row.backends!r}, GPU {row.gpu or 'none'!r}"
    why = ""
    wanted = backend_of(backend)
    if not any(name.lower() in row.backends.lower() for name in wanted.reported_as):
        why = f"no {backend} device was found; check its driver and the backend of the build"
    elif not wanted.graphics:
        why = "the GPU computed, not the CPU" if row.gpu and row.gpu_layers else ""
    elif not row.gpu or row.devices == "none":
        why = f"the CPU ({row.cpu}) computed; check the GPU driver and the access to /dev/dri"
    elif row.gpu_layers == 0:
        why = "no layer is on the GPU (n_gpu_layers is 0)"
    elif not software and any(name.lower() in row.gpu.lower() for name in SOFTWARE_DRIVERS):
        why = "a software driver on the CPU computed, not the GPU"
    elif amd and wanted.driver not in row.gpu:
        why = f"the driver is not Mesa's {wanted.driver}; look for AMDVLK in /etc/vulkan/icd.d"
    return why and f"{reported}: {why}"


def spread(samples: Iterable[float]) -> float:
    """Return (highest - lowest) / median."""
    kept = list(samples)
    return (max(kept) - min(kept)) / median(kept) if kept and median(kept) > 0 else 0.0


def fits_twice(model_bytes: int, available_bytes: int) -> bool:
    """Tell whether a second copy of a model fits beside the running one, with a tenth and 1 GiB to spare."""
    return model_bytes + model_bytes // 10 + (1 << 30) <= available_bytes
