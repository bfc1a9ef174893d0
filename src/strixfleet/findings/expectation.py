"""The speed that a host should reach, how reliable that is, and the limit that no host can exceed."""

from dataclasses import dataclass
from enum import StrEnum


class Basis(StrEnum):
    """The source of an expectation; a more reliable source has a narrower band."""

    LAST_GOOD = "last good run on this host"
    REFERENCE = "published measurement of this file"
    FAMILY = "roofline, corrected by published measurements of the family"
    DENSE = "roofline, dense model"
    MOE = "roofline, mixture of experts"
    UNCERTAIN = "roofline, beyond what was measured"


# (slow below, remark below) as measured / expected. Source: residuals of benchmarks/roofline/
# leave_one_family_out.py, and repeated published runs: one file on two machines differs by up to 5.7 %.
BANDS: dict[Basis, tuple[float, float]] = {
    Basis.LAST_GOOD: (0.90, 0.95),
    Basis.REFERENCE: (0.90, 0.95),
    Basis.FAMILY: (0.80, 0.90),
    Basis.DENSE: (0.80, 0.90),
    Basis.MOE: (0.70, 0.80),
    Basis.UNCERTAIN: (0.55, 0.70),
}


@dataclass(frozen=True, slots=True)
class Expectation:
    """Decode speed in tokens per second: expected, lowest acceptable, and physically possible."""

    expected_tps: float
    ceiling_tps: float
    basis: Basis
    reason: str
    notes: tuple[str, ...] = ()

    @property
    def floor_tps(self) -> float:
        """Return the speed below which a run is slow."""
        return self.expected_tps * BANDS[self.basis][0]

    @property
    def warn_tps(self) -> float:
        """Return the speed below which an ok run gets a remark."""
        return self.expected_tps * BANDS[self.basis][1]
