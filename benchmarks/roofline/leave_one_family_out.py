"""
Measure how well the roofline predicts families that it was not fitted on, compared with simple formulas.

    python benchmarks/roofline/leave_one_family_out.py [decode_by_model.csv] [-v]

For each backend and family, the constants are fitted on all other families. The simple formulas, with the
same family held out: A, size x active / total parameters and one efficiency per backend and class; B, the
published bytes per token and one efficiency. "Exact" are dense models, and mixtures of experts whose bytes
per token are known without the header. 16-bit experts on Vulkan are listed separately.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from cells import DEFAULT, Cell, read_cells
from fit import fit

from strixfleet.speed.expect.roofline import Machine, gpu_times
from strixfleet.speed.expect.roofline_costs import Costs


HALO = Machine(256.0)
GOALS = {"dense": (3.0, 10.0), "MoE, exact bytes": (6.0, 15.0)}
Predictor = Callable[[Sequence[Cell], Cell], float]


def roofline(train: Sequence[Cell], cell: Cell) -> float:
    """Predict with strixfleet's formula and constants fitted on the other families."""
    return 1e3 / gpu_times(cell.shape, _fitted(tuple(train), cell.backend), HALO).total_ms


_FITS: dict[tuple[tuple[int, ...], str], Costs] = {}


def _fitted(train: Sequence[Cell], backend: str) -> Costs:
    key = (tuple(map(id, train)), backend)
    if key not in _FITS:
        _FITS[key] = fit(train, backend)
    return _FITS[key]


def one_efficiency(attribute: str) -> Predictor:
    """Predict with bytes / bandwidth and the median efficiency of the same class."""

    def predict(train: Sequence[Cell], cell: Cell) -> float:
        etas = [one.tps * getattr(one, attribute) for one in train if one.dense == cell.dense]
        return float(median(etas) / getattr(cell, attribute))

    return predict


def errors(cells: Sequence[Cell], predict: Predictor) -> list[tuple[Cell, float]]:
    """Return predicted / measured - 1 for each cell, with its family held out."""
    found = []
    for backend in sorted({cell.backend for cell in cells}):
        here = [cell for cell in cells if cell.backend == backend]
        for family in sorted({cell.family for cell in here}):
            train = [cell for cell in here if cell.family != family]
            found += [(one, predict(train, one) / one.tps - 1) for one in here if one.family == family]
    return found


GROUPS: dict[str, Callable[[Cell], bool]] = {
    "dense": lambda cell: cell.dense,
    "MoE, exact bytes": lambda cell: not cell.dense and cell.exact,
    "MoE, mix known by rule": lambda cell: not cell.dense and cell.known_mix,
    "MoE, all": lambda cell: not cell.dense,
    "all": lambda _cell: True,
}


def main() -> int:
    given = [argument for argument in sys.argv[1:] if argument != "-v"]
    cells, unknown = read_cells(Path(given[0]) if given else DEFAULT)
    kept = [cell for cell in cells if not cell.sixteen_bit_experts_on_vulkan]
    methods = {
        "A naive bytes": one_efficiency("naive_gb"),
        "B their bytes": one_efficiency("refined_gb"),
        "strixfleet": roofline,
    }
    results = {name: errors(kept, predict) for name, predict in methods.items()}
    families = len({cell.family for cell in kept})
    print(f"{len(kept)} cells, {families} families; each family held out. |error| median / p90 / max, %")
    if unknown:
        print(f"without: {', '.join(unknown)} (configuration not published or not in the catalogue)")
    print(f"\n{'':24}{'cells':>6}  " + "".join(f"{name:>22}" for name in methods))
    missed = []
    for group, belongs in GROUPS.items():
        columns = [figures([e for cell, e in found if belongs(cell)]) for found in results.values()]
        count = sum(map(belongs, kept))
        print(f"{group:24}{count:>6}  " + "".join(f"{m:>8.1f}{p:>7.1f}{w:>7.1f}" for m, p, w in columns))
        if group in GOALS and (columns[-1][0] > GOALS[group][0] or columns[-1][1] > GOALS[group][1]):
            missed.append(group)
    _print_sixteen_bit([cell for cell in cells if cell.sixteen_bit_experts_on_vulkan], kept)
    verdict = f"MISSED: {', '.join(missed)}" if missed else "met"
    print(f"\ngoals {verdict}: dense 3 / 10, MoE with exact bytes 6 / 15")
    if "-v" in sys.argv:
        for cell, error in sorted(results["strixfleet"], key=lambda one: (one[0].dense, one[1])):
            name = f"{cell.backend:14}{cell.family:26}{cell.label:12}"
            print(f"{name}{cell.runs:4}{cell.tps:9.2f}{100 * error:8.1f}")
    return 1 if missed else 0


def figures(found: list[float]) -> tuple[float, float, float]:
    """Return median, 90th percentile and maximum of the absolute errors, in percent."""
    sizes = 100 * np.abs(found)
    return float(np.median(sizes)), float(np.percentile(sizes, 90)), float(sizes.max())


def _print_sixteen_bit(cells: Sequence[Cell], kept: Sequence[Cell]) -> None:
    print("\n16-bit experts on Vulkan, fitted with the family held out (named, and not judged closely):")
    for cell in cells:
        others = [one for one in cells if one.backend == cell.backend and one.family != cell.family]
        train = [one for one in kept if one.backend == cell.backend and one.family != cell.family]
        said = roofline(train + others, cell)
        plain = 1e3 / (cell.shape.bytes_read_per_token / 1e9 * _fitted(tuple(train), cell.backend).ms_per_gb)
        figures = f"measured {cell.tps:6.2f}, said {said:6.2f}, by bytes {plain:6.2f}"
        print(f"  {cell.backend:14}{cell.family:18} {figures}")


if __name__ == "__main__":
    sys.exit(main())
