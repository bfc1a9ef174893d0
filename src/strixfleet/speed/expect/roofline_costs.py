"""
The constants of the roofline for each backend of a Strix Halo.

Printed by `benchmarks/roofline/fit_roofline.py`, which fits them to medians of published llama-bench runs
with recent builds at depth 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


HALO_GB_S = 256.0  # what the constants were fitted at: 256 bit LPDDR5X-8000
_K_TYPES = frozenset({"Q4_K", "Q5_K", "Q6_K", "Q5_0", "Q5_1", "Q4_1", "IQ4_XS", "IQ4_NL"})
_PLAIN_TYPES = frozenset({"Q8_0", "Q8_1", "Q8_K", "Q4_0", "MXFP4", "NVFP4", "F32"})


@dataclass(frozen=True, slots=True)
class Costs:
    """
    One backend's constants at 256 GB/s.

    `ms_per_gb` is what bytes of plain types (Q8_0, Q4_0, MXFP4) cost, `more_ms_per_gb` what those of other
    classes cost on top of it.
    """

    ms_per_gb: float
    operation_ms: float
    recurrent_layer_ms: float
    kv_ms_per_gb: float
    more_ms_per_gb: Mapping[str, float]


def type_class(type_name: str, *, routed: bool) -> str:
    """Return the cost class of a tensor type."""
    if type_name in ("F16", "BF16", "F32") and routed:
        return "sixteen_bit_experts"
    if type_name in ("F16", "BF16"):
        return type_name.lower()
    if type_name in _PLAIN_TYPES:
        return "plain"
    return "k_quants" if type_name in _K_TYPES else "low_bits"


BACKENDS: Mapping[str, Costs] = MappingProxyType(
    {
        "vulkan": Costs(
            ms_per_gb=4.384,
            operation_ms=0.006843,
            recurrent_layer_ms=0.04115,
            kv_ms_per_gb=5.3,
            more_ms_per_gb={
                "f16": 1.089,
                "bf16": 0.1985,
                "k_quants": 0.1071,
                "low_bits": 0.06924,
                "sixteen_bit_experts": 19.35,
            },
        ),
        "rocm": Costs(
            ms_per_gb=4.387,
            operation_ms=0.01183,
            recurrent_layer_ms=0.008412,
            kv_ms_per_gb=7,
            more_ms_per_gb={
                "f16": 0.1843,
                "bf16": 0.09675,
                "k_quants": 0.08679,
                "low_bits": 0.04939,
                "sixteen_bit_experts": 1.516,
            },
        ),
    }
)
