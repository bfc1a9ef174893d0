"""Judge one benchmark run: whether it is valid, correct, and as fast as it should be."""

from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from strixfleet.findings.expectation import Expectation


_ABOVE_CEILING = 1.02  # for timers and rounding


class Grade(StrEnum):
    """The grade of a verdict, from good to bad; see docs/json.md."""

    OK = "ok"
    SLOW = "slow"
    UNSTABLE = "unstable"
    IMPOSSIBLE = "impossible"
    INVALID = "invalid"
    WRONG_DEVICE = "wrong_device"
    WRONG_OUTPUT = "wrong_output"


@dataclass(frozen=True, slots=True)
class BenchRun:
    """
    One test as it was run: samples in tokens per second, and evidence of what was wrong, in words.

    `tolerance` is the spread, (highest - lowest) / median, up to which the samples can be judged. If the
    server `speculated`, one read of the weights gave several tokens, so the ceiling does not apply.
    """

    instance: str
    model: str
    backend: str
    device: str
    test: str
    samples_tps: tuple[float, ...]
    tolerance: float = 0.10
    wrong_output: str = ""
    wrong_device: str = ""
    invalid_state: tuple[str, ...] = ()
    speculated: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was measured and expected, and the grade; a speed is None if it is not known."""

    instance: str
    model: str
    backend: str
    device: str
    test: str
    measured_tps: float | None
    expected_tps: float | None
    floor_tps: float | None
    ceiling_tps: float | None
    grade: Grade
    reason: str

    @property
    def needs_attention(self) -> bool:
        """Tell whether the grade is not ok."""
        return self.grade is not Grade.OK


def judge(run: BenchRun, expectation: Expectation | None) -> Verdict:
    """
    Grade a run: first by correctness, then by the state of the host, then by speed.

    A run whose spread exceeds the tolerance is unstable only if its samples are on both sides of the floor.
    """
    measured = median(run.samples_tps) if run.samples_tps else None
    grade, reason = _grade(run, measured, expectation)
    return Verdict(
        instance=run.instance,
        model=run.model,
        backend=run.backend,
        device=run.device,
        test=run.test,
        measured_tps=measured,
        expected_tps=expectation.expected_tps if expectation else None,
        floor_tps=expectation.floor_tps if expectation else None,
        ceiling_tps=expectation.ceiling_tps if expectation else None,
        grade=grade,
        reason=reason,
    )


def _grade(run: BenchRun, measured: float | None, expectation: Expectation | None) -> tuple[Grade, str]:
    if run.wrong_output:
        return Grade.WRONG_OUTPUT, run.wrong_output
    if run.wrong_device:
        return Grade.WRONG_DEVICE, run.wrong_device
    if run.invalid_state:
        return Grade.INVALID, f"the host was not in a state to be measured: {'; '.join(run.invalid_state)}"
    if measured is None or not all(0 < sample < float("inf") for sample in run.samples_tps):
        return Grade.INVALID, "the benchmark measured no speed"
    if expectation is None:
        return Grade.OK, f"{measured:.2f} t/s; there is no expected speed yet"
    return _grade_speed(run, measured, expectation)


def _grade_speed(run: BenchRun, measured: float, expectation: Expectation) -> tuple[Grade, str]:
    lowest, highest = min(run.samples_tps), max(run.samples_tps)
    spread = (highest - lowest) / measured
    floor, ceiling = expectation.floor_tps, expectation.ceiling_tps
    share = f"{measured:.2f} t/s is {measured / expectation.expected_tps:.0%} of the expected"
    basis = f"{expectation.expected_tps:.2f} ({expectation.basis})"
    if measured > ceiling * _ABOVE_CEILING:
        text = f"{measured:.2f} t/s is more than memory allows ({ceiling:.2f}), so the measurement is wrong"
        return Grade.IMPOSSIBLE, text
    if spread > run.tolerance and lowest < floor <= highest:
        return (
            Grade.UNSTABLE,
            f"samples from {lowest:.2f} to {highest:.2f} t/s are on both sides of the floor, {floor:.2f}",
        )
    if measured < floor:
        return Grade.SLOW, f"{share} {basis}, below {floor:.2f}; {expectation.reason}"
    remark = "" if spread <= run.tolerance else f"; samples spread by {spread:.0%}"
    if measured < expectation.warn_tps:
        remark += "; at the lower end of the normal range"
    return Grade.OK, f"{share} {basis}{remark}"
