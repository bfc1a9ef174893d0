"""
Fit the roofline's constants and write the references of the package.

    python benchmarks/roofline/fit_roofline.py decode_by_model.csv [measurements.csv.gz]

Prints the constants of `speed/expect/roofline_costs.py`. With the raw measurements it also writes, into
src/strixfleet/speed/expect/, `references.csv` (each cell with its sources, and the formula's value, which
corrects other files of the family) and `families.csv` (how a family is recognised by its header).
"""

import csv
import gzip
import sys
from collections import defaultdict
from pathlib import Path

from cells import Cell, read_cells
from fit import fit
from model_catalogue import BY_FAMILY

from strixfleet.speed.expect.roofline import Machine, gpu_times
from strixfleet.speed.expect.roofline_costs import BACKENDS


DATA = Path(__file__).parents[2] / "src/strixfleet/speed/expect"
NAMES = {"vulkan_radv": "vulkan", "rocm": "rocm"}  # the backends that strixfleet builds


def main() -> None:
    cells, _ = read_cells(Path(sys.argv[1]))
    for backend, name in NAMES.items():
        costs = fit([cell for cell in cells if cell.backend == backend], backend)
        more = ", ".join(f'"{key}": {value:.4g}' for key, value in costs.more_ms_per_gb.items())
        print(f'"{name}": Costs(\n    ms_per_gb={costs.ms_per_gb:.4g},')
        print(f"    operation_ms={costs.operation_ms:.4g},")
        print(f"    recurrent_layer_ms={costs.recurrent_layer_ms:.4g},")
        print(f"    kv_ms_per_gb={costs.kv_ms_per_gb:.4g},\n    more_ms_per_gb={{{more}}},\n),")
    if len(sys.argv) > 2:
        _write_references(cells, _sources(Path(sys.argv[2])))
        _write_families(cells)


def _sources(path: Path) -> dict[tuple[str, str, str, str], set[str]]:
    found = defaultdict(set)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["model_size_gib"] and row["test"] in ("tg128", "tg32"):
                size = f"{float(row['model_size_gib']):.1f}"
                found[row["backend"].replace("_radv", ""), row["family"], row["quant"], size].add(
                    row["source"]
                )
    return found


def _write_references(cells: list[Cell], sources: dict[tuple[str, str, str, str], set[str]]) -> None:
    with (DATA / "references.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        columns = "backend family quant size_bytes runs tps formula_tps mix_known source"
        writer.writerow(columns.split())
        for cell in (one for one in cells if one.backend in NAMES):
            name = NAMES[cell.backend]
            formula = 1e3 / gpu_times(cell.shape, BACKENDS[name], Machine(256.0)).total_ms
            key = (name, cell.family, cell.label, f"{cell.size_bytes / 1024**3:.1f}")
            source = "; ".join(sorted(sources[key]))
            row = [
                name,
                cell.family,
                cell.label,
                cell.size_bytes,
                cell.runs,
                cell.tps,
                f"{formula:.4g}",
                int(cell.known_mix),
                source,
            ]
            writer.writerow(row)


def _write_families(cells: list[Cell]) -> None:
    with (DATA / "families.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["family", "layers", "width", "experts", "parameters"])
        for family in sorted({cell.family for cell in cells}):
            model = BY_FAMILY[family]
            parameters = next(cell.shape.parameters for cell in cells if cell.family == family)
            writer.writerow([family, model.layers, model.width, model.experts, parameters])


if __name__ == "__main__":
    main()
