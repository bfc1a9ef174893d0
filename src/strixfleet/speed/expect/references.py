"""
Use published measurements: of the same file as the expectation, of similar files as a correction.

A file is the same if family and size agree within 2 %. A family is recognised by the structure of the model,
not by its name, so fine-tunes belong to it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from strixfleet.findings.expectation import Basis, Expectation
from strixfleet.speed.model.model_shape import SIXTEEN_BIT, ModelShape


_SAME_SIZE = 0.02
_SAME_PARAMETERS = 0.02
_LEAST_CORRECTION, _MOST_CORRECTION = 0.75, 1.30
_SIMILAR_SIZE = 1.6  # larger or smaller files of a family have other types and other residuals
_BROKEN = 0.65  # a reference this far below the formula is an early build or a broken run


@dataclass(frozen=True, slots=True)
class Family:
    """A family of models, as its headers show it."""

    name: str
    layers: int
    width: int
    experts: int
    parameters: int

    def fits(self, shape: ModelShape) -> bool:
        """Tell whether a model is of this family; prediction layers may add a few parameters."""
        same = (self.layers, self.width, self.experts) == (shape.layers, shape.width, shape.experts)
        return same and abs(shape.parameters / self.parameters - 1) <= _SAME_PARAMETERS


@dataclass(frozen=True, slots=True)
class Reference:
    """One published median on a Strix Halo, and the formula's value for that file."""

    backend: str
    family: str
    quant: str
    size_bytes: int
    runs: int
    tps: float
    formula_tps: float
    mix_known: bool  # the types of the file are known, so the residual is not that of a guess
    source: str


@dataclass(frozen=True, slots=True)
class Library:
    """All published measurements in the package."""

    families: tuple[Family, ...] = ()
    references: tuple[Reference, ...] = ()

    def of(self, shape: ModelShape, backend: str) -> tuple[Reference, ...]:
        """Return the measurements of a model's family on a backend."""
        families = {family.name for family in self.families if family.fits(shape)}
        return tuple(one for one in self.references if one.family in families and one.backend == backend)


def informed(expectation: Expectation, shape: ModelShape, found: Sequence[Reference]) -> Expectation:
    """Replace the formula by a measurement of the same file, or correct it by those of the family."""
    same = [one for one in found if abs(one.size_bytes / shape.size_bytes - 1) <= _SAME_SIZE]
    same = [one for one in same if one.tps >= _BROKEN * expectation.expected_tps]
    if same:
        return _measured(
            expectation, min(same, key=lambda one: (abs(one.size_bytes - shape.size_bytes), -one.runs))
        )
    others = [one for one in found if _is_comparable(one, shape)]
    return _corrected(expectation, others) if others else expectation


def _is_comparable(one: Reference, shape: ModelShape) -> bool:
    """Tell whether a file's residual applies to a model: similar size, and both 16 bit or both quantised."""
    ratio = one.size_bytes / shape.size_bytes
    alike = (one.quant in SIXTEEN_BIT) is (shape.main_type in SIXTEEN_BIT)
    usable = one.mix_known and one.tps >= _BROKEN * one.formula_tps
    return usable and alike and 1 / _SIMILAR_SIZE < ratio < _SIMILAR_SIZE


def _measured(expectation: Expectation, one: Reference) -> Expectation:
    runs = f"{one.runs} run{'s' if one.runs > 1 else ''}"
    reason = f"{one.tps:.2f} t/s was published for {one.quant} of {one.family} ({runs}; {one.source})"
    return replace(
        expectation,
        expected_tps=one.tps,
        basis=Basis.REFERENCE,
        reason=f"{reason}; the formula gives: {expectation.reason}",
    )


def _corrected(expectation: Expectation, others: Iterable[Reference]) -> Expectation:
    """Apply the median residual of the family, shrunk towards 1 if there are few files."""
    ratios = [one.tps / one.formula_tps for one in others]
    ratio = median(ratios) ** (len(ratios) / (len(ratios) + 1))
    ratio = min(max(ratio, _LEAST_CORRECTION), _MOST_CORRECTION)
    names = ", ".join(sorted({f"{one.family} {one.quant}" for one in others}))
    uncertain = expectation.basis is Basis.UNCERTAIN
    return replace(
        expectation,
        expected_tps=min(expectation.expected_tps * ratio, expectation.ceiling_tps),
        basis=expectation.basis if uncertain else Basis.FAMILY,
        reason=f"{expectation.reason}; x {ratio:.2f}, the correction from measurements of {names}",
    )
