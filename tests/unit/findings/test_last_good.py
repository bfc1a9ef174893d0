"""Last good speeds are never replaced by slower ones."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from strixfleet.findings.expectation import Basis, Expectation
from strixfleet.findings.last_good import LastGood, Subject
from strixfleet.findings.verdict import Grade, Verdict
from strixfleet.on_host.questions import Json


SUBJECT = Subject("v1-cpu-00000000", "m.gguf", 1000)
AT = "2026-11-21T00:00:00+00:00"


def verdict(tps: float | None, grade: Grade = Grade.OK, test: str = "tg128") -> Verdict:
    return Verdict("main", "m", "vulkan", "GPU", test, tps, None, None, None, grade, "")


def test_the_first_good_run_is_kept_and_comes_back() -> None:
    kept = LastGood().with_runs(SUBJECT, [verdict(50.0)], AT)
    assert LastGood.from_json(kept.to_json()).speed_tps(SUBJECT, "tg128") == 50.0
    assert kept.tests(SUBJECT) == ("tg128",)


@given(st.lists(st.tuples(st.floats(0.1, 1e4), st.sampled_from(list(Grade))), max_size=20))
def test_it_only_ever_rises_and_only_by_good_runs(runs: list[tuple[float, Grade]]) -> None:
    kept, best = LastGood(), 0.0
    for tps, grade in runs:
        before = kept.speed_tps(SUBJECT, "tg128") or 0.0
        kept = kept.with_runs(SUBJECT, [verdict(tps, grade)], AT)
        after = kept.speed_tps(SUBJECT, "tg128") or 0.0
        assert after >= before
        best = max(best, tps) if grade is Grade.OK else best
        assert after <= best + 1e-3


def test_a_hair_faster_writes_nothing() -> None:
    kept = LastGood().with_runs(SUBJECT, [verdict(50.0)], AT)
    assert kept.with_runs(SUBJECT, [verdict(51.0)], "later") == kept


def test_answers_that_all_begin_otherwise_are_wrong_whatever_the_build() -> None:
    kept = LastGood().with_output(SUBJECT, ("1", "2", "3"), AT)
    other = Subject("v2-cpu-00000000", SUBJECT.model_file, SUBJECT.size_bytes)
    assert kept.changed_output(other, ("1", "2", "3")) == ""
    assert kept.changed_output(other, ("9", "9", "3")) == ""  # rounding may change some
    assert "all 3 answers begin with other tokens" in kept.changed_output(other, ("9", "9", "9"))
    assert kept.changed_output(Subject("v2", "other.gguf", 1000), ("9", "9", "9")) == ""
    assert LastGood().changed_output(SUBJECT, ("9",)) == ""
    assert kept.with_output(other, ("9", "9", "9"), AT) == kept


def test_a_model_that_recalls_is_not_held_against_answers_of_one_that_never_did() -> None:
    """A broken first build must not condemn the build that repairs it."""
    broken = LastGood().with_output(SUBJECT, ("31", "31", "31"), "then")
    mended = ("5", "6", "7")
    assert broken.changed_output(SUBJECT, mended, proven=True) == ""
    assert "all 3 answers" in broken.changed_output(SUBJECT, mended)
    kept = broken.with_output(SUBJECT, mended, "now", proven=True)
    assert "all 3 answers" in kept.changed_output(SUBJECT, ("31", "31", "31"))
    assert kept.with_output(SUBJECT, ("1", "2", "3"), "later", proven=True) == kept


def test_another_build_or_file_has_no_past() -> None:
    kept = LastGood().with_runs(SUBJECT, [verdict(50.0)], AT)
    assert kept.speed_tps(Subject("v2", "m.gguf", 1000), "tg128") is None
    assert kept.speed_tps(Subject(SUBJECT.build, "m.gguf", 1001), "tg128") is None


def test_the_past_narrows_the_formula_but_never_widens_it() -> None:
    kept = LastGood().with_runs(SUBJECT, [verdict(50.0)], AT)
    low = Expectation(48.0, 70.0, Basis.MOE, "sum")
    high = Expectation(60.0, 70.0, Basis.DENSE, "sum")
    found = kept.expectation(SUBJECT, "tg128", low)
    assert found is not None
    assert (found.basis, found.floor_tps, found.ceiling_tps) == (Basis.LAST_GOOD, 45.0, 70.0)
    assert kept.expectation(SUBJECT, "tg128", high) is high
    wide = kept.expectation(SUBJECT, "tg128", low, 0.25)
    assert wide is not None
    assert wide.floor_tps == 37.5
    assert kept.expectation(SUBJECT, "tg128", low, 0.5) is low
    alone = kept.expectation(SUBJECT, "tg128", None)
    assert alone is not None
    assert alone.ceiling_tps == inf


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.floats(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["entries", "tps", "x"]), inner),
    )
)
def test_a_damaged_file_is_as_good_as_none(raw: Json) -> None:
    assert LastGood.from_json(raw).speed_tps(SUBJECT, "tg128") is None
