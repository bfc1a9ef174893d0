"""Verdicts: each grade from its cause, and what outranks what."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strixfleet.findings.expectation import BANDS, Basis, Expectation
from strixfleet.findings.verdict import BenchRun, Grade, judge


EXPECTED = Expectation(expected_tps=50.0, ceiling_tps=70.0, basis=Basis.DENSE, reason="5 GB at 250 GB/s")
RUN = BenchRun("main", "qwen3-8b", "vulkan", "Vulkan0: 8060S", "tg128", (49.8, 50.0, 50.2))


@pytest.mark.parametrize(
    ("samples_tps", "grade", "words"),
    [
        ((49.8, 50.0, 50.2), Grade.OK, "50.00 t/s is 100% of the expected 50.00"),
        ((40.1, 40.2), Grade.OK, "at the lower end"),
        ((39.8, 39.9), Grade.SLOW, "below 40.00; 5 GB at 250 GB/s"),
        ((71.0, 71.1), Grade.OK, "142%"),
        ((71.5, 71.6), Grade.IMPOSSIBLE, "more than memory allows (70.00)"),
        ((30.0, 50.0, 55.0), Grade.UNSTABLE, "on both sides of the floor, 40.00"),
        ((42.0, 50.0, 60.0), Grade.OK, "samples spread by 36%"),
        ((20.0, 30.0, 39.0), Grade.SLOW, "60% of the expected"),
        ((), Grade.INVALID, "measured no speed"),
        ((50.0, 0.0), Grade.INVALID, "measured no speed"),
        ((50.0, float("nan")), Grade.INVALID, "measured no speed"),
    ],
)
def test_speed_is_graded_by_the_band(samples_tps: tuple[float, ...], grade: Grade, words: str) -> None:
    verdict = judge(replace(RUN, samples_tps=samples_tps), EXPECTED)
    assert verdict.grade is grade
    assert words in verdict.reason


@pytest.mark.parametrize(
    ("evidence", "grade"),
    [
        ({"wrong_output": "digest differs"}, Grade.WRONG_OUTPUT),
        ({"wrong_device": "llvmpipe"}, Grade.WRONG_DEVICE),
        ({"invalid_state": ("on battery",)}, Grade.INVALID),
    ],
)
@pytest.mark.parametrize("samples_tps", [(10.0,), (50.0,), (99.0,)])
def test_what_is_wrong_outranks_speed(
    evidence: dict[str, object], grade: Grade, samples_tps: tuple[float, ...]
) -> None:
    run = replace(RUN, samples_tps=samples_tps, **evidence)  # type: ignore[arg-type] # a test's
    verdict = judge(run, EXPECTED)
    assert verdict.grade is grade
    assert verdict.needs_attention


def test_wrong_output_outranks_all() -> None:
    run = replace(RUN, wrong_output="a", wrong_device="b", invalid_state=("c",))
    assert judge(run, EXPECTED).reason == "a"
    assert judge(replace(run, wrong_output=""), EXPECTED).reason == "b"


def test_without_an_expectation_a_speed_is_recorded_and_not_judged() -> None:
    verdict = judge(RUN, None)
    assert verdict.grade is Grade.OK
    assert (verdict.expected_tps, verdict.floor_tps, verdict.ceiling_tps) == (None, None, None)
    assert "there is no expected speed yet" in verdict.reason


def test_bands_widen_as_less_is_known() -> None:
    fails = [BANDS[basis][0] for basis in Basis]
    assert fails == sorted(fails, reverse=True)
    assert all(fail < warn < 1 for fail, warn in BANDS.values())


@given(st.lists(st.floats(0.1, 200), min_size=1, max_size=9), st.sampled_from(Basis))
def test_a_slower_host_is_never_graded_better(samples_tps: list[float], basis: Basis) -> None:
    expectation = replace(EXPECTED, basis=basis)
    run = replace(RUN, samples_tps=tuple(samples_tps))
    halved = replace(RUN, samples_tps=tuple(sample / 2 for sample in samples_tps))
    if judge(run, expectation).grade is Grade.SLOW:
        assert judge(halved, expectation).grade is Grade.SLOW
