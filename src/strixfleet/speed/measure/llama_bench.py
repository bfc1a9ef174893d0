"""What llama-bench is asked, what its answer says, and whether the right device computed it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from strixfleet.inventory.schema.parts import SmokeBench
from strixfleet.on_host.questions import Json
from strixfleet.printable import printable


MOST_SAMPLES = 1000
BACKEND_NAMES: Mapping[str, tuple[str, ...]] = {
    "vulkan": ("Vulkan",),
    "rocm": ("ROCm", "HIP"),
    "cpu": ("CPU", "BLAS"),
}
SOFTWARE_DRIVERS = ("llvmpipe", "lavapipe", "SwiftShader")


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One test of llama-bench; `gpu` is empty where no GPU was used."""

    test: str
    samples_tps: tuple[float, ...]
    backends: str
    gpu: str
    cpu: str
    devices: str
    gpu_layers: int
    threads: int
    commit: str

    @property
    def device(self) -> str:
        """Name what computed."""
        return self.gpu or self.cpu or "unknown"

    @property
    def used_gpu(self) -> bool:
        """Tell whether a GPU computed: it is named even where `-dev none` left it out."""
        return bool(self.gpu) and self.devices != "none" and self.gpu_layers != 0

    @property
    def measured_tps(self) -> float:
        """Return the median."""
        return median(self.samples_tps)


class BenchUnreadableError(ValueError):
    """llama-bench's answer is not what it should be."""


def bench_arguments(model_path: str, smoke: SmokeBench, options: Iterable[str]) -> list[str]:
    """Return llama-bench's arguments."""
    return [
        *("-m", model_path, "-o", "json"),
        *("-p", str(smoke.prompt_tokens), "-n", str(smoke.generate_tokens), "-r", str(smoke.repetitions)),
        *options,
    ]


def parse_bench(text: str) -> tuple[BenchRow, ...]:
    """Read llama-bench's JSON; whatever stands there, the answer is rows or BenchUnreadableError."""
    start = text.find("[")
    try:
        rows: Json = json.loads(text[start:]) if start >= 0 else None
    except ValueError as problem:
        raise BenchUnreadableError(f"llama-bench printed no JSON: {problem}") from None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise BenchUnreadableError("llama-bench printed no results")
    return tuple(_row(row) for row in rows if isinstance(row, dict))


def _row(row: Mapping[str, Json]) -> BenchRow:
    samples = row.get("samples_ts")
    speeds = (
        [float(one) for one in samples if isinstance(one, int | float)] if isinstance(samples, list) else []
    )
    if not speeds or len(speeds) > MOST_SAMPLES:
        raise BenchUnreadableError("llama-bench printed no samples_ts")
    return BenchRow(
        test=test_name(_integer(row, "n_prompt"), _integer(row, "n_gen"), _integer(row, "n_depth")),
        samples_tps=tuple(speeds),
        backends=_text(row, "backends"),
        gpu=_text(row, "gpu_info"),
        cpu=_text(row, "cpu_info"),
        devices=_text(row, "devices"),
        gpu_layers=_integer(row, "n_gpu_layers"),
        threads=_integer(row, "n_threads"),
        commit=_text(row, "build_commit"),
    )


def test_name(prompt_tokens: int, generate_tokens: int, depth: int) -> str:
    """Name a test as llama-bench's own tables do: pp512, tg128, tg128 @ d4096."""
    parts = [f"pp{prompt_tokens}"] if prompt_tokens else []
    parts += [f"tg{generate_tokens}"] if generate_tokens else []
    return "+".join(parts) + (f" @ d{depth}" if depth else "")


def _integer(row: Mapping[str, Json], key: str) -> int:
    value = row.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _text(row: Mapping[str, Json], key: str) -> str:
    value = row.get(key)
    return printable(value) if isinstance(value, str) else ""


def wrong_device(row: BenchRow, backend: str, *, amd: bool, software: bool = False) -> str:
    """
    Return the evidence that not the wanted device computed; empty where it did.

    A build for Vulkan that finds no driver runs on the CPU and still reports `backends: Vulkan`, with an
    empty `gpu_info`. With `amd`, Vulkan must be RADV: its name stands in the device's. With `software`,
    as on hosts that only simulate a GPU, a software driver is what was wanted.
    """
    seen = f"llama-bench reports backends {row.backends!r}, GPU {row.gpu or 'none'!r}"
    why = ""
    if not any(name.lower() in row.backends.lower() for name in BACKEND_NAMES[backend]):
        why = f"no {backend} device was found; is its driver there, and was the build made for it?"
    elif backend == "cpu":
        why = "the GPU computed, the CPU was wanted" if row.gpu and row.gpu_layers else ""
    elif not row.gpu or row.devices == "none":
        why = f"the CPU ({row.cpu}) computed; is the driver there, may the server use /dev/dri?"
    elif row.gpu_layers == 0:
        why = "no layer was given to the GPU (n_gpu_layers 0)"
    elif not software and any(name.lower() in row.gpu.lower() for name in SOFTWARE_DRIVERS):
        why = "a software driver on the CPU, no GPU"
    elif backend == "vulkan" and amd and "RADV" not in row.gpu:
        why = "the driver is not Mesa's RADV; is AMDVLK left behind in /etc/vulkan/icd.d?"
    return why and f"{seen}: {why}"


def spread(samples: Iterable[float]) -> float:
    """Return (highest - lowest) / median."""
    kept = list(samples)
    return (max(kept) - min(kept)) / median(kept) if kept and median(kept) > 0 else 0.0


def fits_twice(model_bytes: int, available_bytes: int) -> bool:
    """Say whether a second copy of a model fits beside the running one; a tenth and 1 GiB stay free."""
    return model_bytes + model_bytes // 10 + (1 << 30) <= available_bytes
