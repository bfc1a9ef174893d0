"""The memory speed that a build's own program claims."""

from typing import cast

import pytest

from strixfleet.speed.measure.host_answer import HostAnswer
from strixfleet.speed.measure.measure_memory import MemorySpeed
from strixfleet.speed.measure.remote_bench import Bench, ProgramRun


class Claims:
    """A host whose strixfleet-membw prints what a hostile build made it print."""

    def __init__(self, stdout: str) -> None:
        self.stdout = stdout

    def program(self, *_given: object) -> ProgramRun:
        return ProgramRun(0, self.stdout, "")


@pytest.mark.parametrize("claim", ["1e300", "Infinity", "NaN", "-5", "10001", '"fast"'])
def test_a_claim_that_would_lift_every_ceiling_does_not_count(claim: str) -> None:
    bench = cast("Bench", Claims(f'{{"read_gb_s": {claim}}}'))
    assert MemorySpeed(bench, HostAnswer()).now_gb_s() == 0.0


def test_a_plausible_speed_counts() -> None:
    bench = cast("Bench", Claims('{"read_gb_s": 212.5}'))
    assert MemorySpeed(bench, HostAnswer()).now_gb_s() == 212.5
