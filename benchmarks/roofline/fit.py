"""Fit the roofline's constants for one backend: robust, weighted, and shrunk where cells are few."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from cells import Cell

from strixfleet.speed.expect.roofline import quantities
from strixfleet.speed.expect.roofline_costs import Costs


NAMES = ("gb", "operations", "recurrent_layers", "f16", "bf16", "k_quants", "low_bits", "sixteen_bit_experts")
_SHRINK = {"f16": 5e-5, "bf16": 5e-4, "k_quants": 5e-4, "low_bits": 1.5e-3, "sixteen_bit_experts": 1e-7}
_TYPICAL_RESIDUAL = 0.02  # larger residuals count by their size, not by its square
_KV_MS_PER_GB = {
    "vulkan_radv": 5.3,
    "vulkan_amdvlk": 8.5,
    "rocm": 7.0,
}  # medians of (t(d) - t(0)) / cache read


def fit(cells: Sequence[Cell], backend: str) -> Costs:
    """Fit one backend's constants to cells."""
    rows = np.array([[quantities(cell.shape).get(name, 0.0) for name in NAMES] for cell in cells])
    times = np.array([1e3 / cell.tps for cell in cells])
    families = Counter(cell.family for cell in cells)
    weights = np.array([cell.weight / families[cell.family] ** 0.5 for cell in cells])
    found = dict(zip(NAMES, _solve(rows / times[:, None], weights / weights.sum()), strict=True))
    return Costs(
        ms_per_gb=found.pop("gb"),
        operation_ms=found.pop("operations"),
        recurrent_layer_ms=found.pop("recurrent_layers"),
        kv_ms_per_gb=_KV_MS_PER_GB.get(backend, 7.0),
        more_ms_per_gb=found,
    )


def _solve(scaled: "np.ndarray", weights: "np.ndarray") -> list[float]:
    """Minimise |predicted / measured - 1| by reweighted least squares; constants are not negative."""
    count = scaled.shape[1]
    shrink = np.diag([_SHRINK.get(name, 0.0) for name in NAMES])
    active, current, found = np.ones(count, dtype=bool), weights.copy(), np.zeros(count)
    for _ in range(80):
        weighted = (scaled * current[:, None]).T
        normal = weighted @ scaled + shrink + 1e-12 * np.eye(count)
        free = np.flatnonzero(active)
        found = np.zeros(count)
        found[free] = np.linalg.solve(normal[np.ix_(free, free)], weighted.sum(axis=1)[free])
        current = weights * _TYPICAL_RESIDUAL / np.maximum(np.abs(scaled @ found - 1), _TYPICAL_RESIDUAL)
        if (found < 0).any():
            active[int(np.argmin(found))] = False
    return [float(value) for value in found]
