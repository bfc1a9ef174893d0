"""Read published cells (backend, model file, median decode speed), with the shape of each file."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from model_catalogue import BY_FAMILY, Model
from quant_mix import Typed, typed_tensors

from strixfleet.speed.model.model_file import ArrayLeftOut, GgufHeader, TensorInfo
from strixfleet.speed.model.model_shape import ModelShape, is_routed, shape_of


DEFAULT = Path(__file__).with_name("decode_by_model.csv")
GIB = 1024**3
_SIXTEEN = ("BF16", "F16")
# Unsloth's files of 2026 keep all but the experts at Q8_0: their sizes and speeds agree with nothing else
_DYNAMIC_2026 = frozenset({"gemma-4-26b-a4b", "qwen3.5-122b-a10b", "glm-4.7-flash", "minimax-m2"})
_UNLABELLED_DYNAMIC = {("qwen3-30b-a3b", "Q4_K"), ("qwen3-30b-a3b", "Q6_K")}  # by their sizes
_EXACT_WITHOUT_RULES = frozenset({"Q8_0", "Q6_K", "Q4_0", "IQ4_NL", "BF16", "F16", "MXFP4"})
_EARLY_BUILDS = {"qwen3-next-80b-a3b": 0.3, "minimax-m2": 0.4}  # measured while support was being written


@dataclass(frozen=True)
class Cell:
    """One published median, and the bytes that the file reads per token."""

    backend: str
    family: str
    label: str
    size_bytes: int
    tps: float
    runs: int
    dense: bool
    known_mix: bool  # the types of all tensors follow from the label
    naive_gb: float
    refined_gb: float
    shape: ModelShape

    @property
    def exact(self) -> bool:
        """Tell whether the bytes per token are known without the header."""
        return self.dense or (self.known_mix and self.label in _EXACT_WITHOUT_RULES)

    @property
    def sixteen_bit_experts_on_vulkan(self) -> bool:
        """Tell whether the cell has 16-bit experts on Vulkan, which are three times slower than others."""
        routed = {read.type_name for read in self.shape.reads if read.routed}
        return "vulkan" in self.backend and bool(routed & set(_SIXTEEN))

    @property
    def weight(self) -> float:
        """Return the weight of the cell in a fit, which is lower if types or builds are uncertain."""
        sure = 1.0 if self.known_mix else 0.7 if self.dense else 0.1 if "Q8_K_XL" in self.label else 0.35
        return sure * _EARLY_BUILDS.get(self.family, 1.0) * (0.6 if self.runs == 1 else 1.0)


def read_cells(path: Path = DEFAULT) -> tuple[list[Cell], list[str]]:
    """Return the cells of known families, and the names of families that the catalogue lacks."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    unknown = sorted({row["family"] for row in rows} - BY_FAMILY.keys())
    return [_cell(row) for row in rows if row["family"] in BY_FAMILY], unknown


def _cell(row: Mapping[str, str]) -> Cell:
    model, label = BY_FAMILY[row["family"]], row["quant"]
    size_bytes = round(float(row["model_size_gib"]) * GIB)
    known = not (
        label.startswith("UD-") or label == "MXFP4_MOE" or (model.family, label) in _UNLABELLED_DYNAMIC
    )
    typed = typed_tensors(model, label)
    return Cell(
        backend=row["backend"],
        family=model.family,
        label=label,
        size_bytes=size_bytes,
        tps=float(row["tg_median"]),
        runs=int(row["n"]),
        dense=row["class"] == "dense",
        known_mix=known,
        naive_gb=float(row["bytes_per_token_gb_naive"]),
        refined_gb=float(row["bytes_per_token_gb_refined"]),
        shape=shape_from(model, typed, (1.0, 1.0) if known else _stretch(model, label, typed, size_bytes)),
    )


def shape_from(model: Model, typed: Iterable[Typed], stretch: tuple[float, float] = (1.0, 1.0)) -> ModelShape:
    """Return the shape of a model with these tensors."""
    tensors = tuple(
        TensorInfo(
            one.name, one.shape, one.type_name, round(one.size_bytes * stretch[is_routed(one.name)]), 0
        )
        for one in typed
    )
    metadata = {
        key: tuple(value) if isinstance(value, list) else value for key, value in model.header().items()
    } | {"tokenizer.ggml.tokens": ArrayLeftOut(model.vocab)}
    size_bytes = sum(tensor.size_bytes for tensor in tensors)
    return shape_of(GgufHeader(metadata, tensors, size_bytes, 0, (model.family,), model.family))


def _stretch(model: Model, label: str, typed: list[Typed], size_bytes: int) -> tuple[float, float]:
    """Estimate how a dynamic file distributes its size: a factor for the experts, and one for the rest."""
    routed = sum(one.size_bytes for one in typed if is_routed(one.name))
    rest = sum(one.size_bytes for one in typed if not is_routed(one.name))
    if not model.experts:
        return size_bytes / rest, 1.0
    if label == "MXFP4_MOE":
        return (size_bytes - routed) / rest, 1.0
    if label == "UD-Q8_K_XL":
        return max(0.55, min(1.0, (size_bytes - routed) / rest)), max(1.0, (size_bytes - rest) / routed)
    if model.family in _DYNAMIC_2026 or label in ("UD-Q6_K_XL", "Q6_K"):
        at_q8 = sum(
            one.size_bytes if one.type_name == "F32" else prod(one.shape) * 8.5 / 8
            for one in typed
            if not is_routed(one.name)
        )
        return at_q8 / rest, (size_bytes - at_q8) / routed
    return size_bytes / (routed + rest), size_bytes / (routed + rest)
