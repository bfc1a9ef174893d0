"""From evidence to verdicts."""

from dataclasses import replace

import pytest

from strixfleet.errors import UsageError
from strixfleet.findings.expectation import Basis, Expectation
from strixfleet.findings.last_good import LastGood, Subject
from strixfleet.findings.verdict import Grade
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.parts import Instance
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.speed.judge.bench_rows import runs_json
from strixfleet.speed.judge.judge_runs import (
    Expectations,
    confirmed_by_second_run,
    deserves_another_run,
    verdicts_of,
    with_results,
)
from strixfleet.speed.measure.evidence import Evidence, Target, targets_of
from strixfleet.speed.measure.host_conditions import HostConditions, MemoryNow
from strixfleet.speed.measure.llama_bench import BenchRow
from strixfleet.speed.measure.served import Output, Served
from strixfleet.speed.measure.served_run import ServedRun


INSTANCE = Instance(name="main", model="m", port=8080)
TARGET = Target("m", ("/m.gguf",), INSTANCE)
ROW = BenchRow("tg128", (50.0, 50.0, 50.0), "Vulkan", "Radeon (RADV GFX1151)", "cpu", "auto", -1)
SERVED = Served(runs=(ServedRun(0.5, 3.04, 128, 64),) * 3, outputs=(Output((1,)), Output((1,))))
EVIDENCE = Evidence(TARGET, "vulkan", True, HostConditions(), rows=(ROW,), served=SERVED)
UNLIKE = (Output((1,)), Output((2,)))
TESTS = ("tg128", "served tg128")
EXPECTED = Expectations(Subject("b", "m.gguf", 1), Expectation(52.0, 60.0, Basis.DENSE, "sum"), LastGood())


def grades(evidence: Evidence, expectations: Expectations = EXPECTED) -> dict[str, Grade]:
    return {verdict.test: verdict.grade for verdict in verdicts_of(evidence, expectations, 128)}


def test_a_healthy_host_is_ok_in_both_tests() -> None:
    assert grades(EVIDENCE) == {"tg128": Grade.OK, "served tg128": Grade.OK}


def test_prefill_has_no_formula() -> None:
    evidence = replace(EVIDENCE, rows=(replace(ROW, test="pp512", samples_tps=(900.0,)),))
    verdict = verdicts_of(evidence, EXPECTED, 128)[0]
    assert (verdict.grade, verdict.expected_tps) == (Grade.OK, None)


@pytest.mark.parametrize(
    ("change", "want"),
    [
        ({"rows": (replace(ROW, samples_tps=(30.0, 30.0, 30.0)),)}, {"tg128": Grade.SLOW}),
        ({"rows": (replace(ROW, samples_tps=(90.0, 90.0, 90.0)),)}, {"tg128": Grade.IMPOSSIBLE}),
        ({"rows": (replace(ROW, gpu=""),)}, {"tg128": Grade.WRONG_DEVICE}),
        (
            {"conditions": HostConditions(on_mains=False)},
            dict.fromkeys(TESTS, Grade.INVALID),
        ),
        ({"rows": (), "problem": "llama-bench ended with 1: no"}, {"tg128": Grade.INVALID}),
        (
            {"served": replace(SERVED, outputs=UNLIKE)},
            {"served tg128": Grade.WRONG_OUTPUT},
        ),
        ({"served": replace(SERVED, busy_slots=1)}, {"served tg128": Grade.INVALID}),
        ({"served": None, "server_problem": "is failed"}, {"served tg128": Grade.INVALID}),
    ],
)
def test_each_fault_has_its_grade(change: dict[str, object], want: dict[str, Grade]) -> None:
    got = grades(replace(EVIDENCE, **change))  # type: ignore[arg-type] # the table names the fields
    assert {test: got[test] for test in want} == want


def test_wrong_output_outranks_every_speed() -> None:
    bad = replace(SERVED, outputs=(Output(()), Output(())))
    assert grades(replace(EVIDENCE, served=bad))["served tg128"] is Grade.WRONG_OUTPUT


def test_other_work_excuses_a_slow_cpu_but_not_a_slow_gpu() -> None:
    slow = replace(EVIDENCE, rows=(replace(ROW, samples_tps=(20.0, 20.0), backends="CPU", gpu=""),))
    busy = replace(slow, backend="cpu", others_share=0.4)
    verdict = verdicts_of(busy, EXPECTED, 128)[0]
    assert verdict.grade is Grade.INVALID
    assert deserves_another_run(busy, verdict)
    quiet = verdicts_of(replace(slow, backend="cpu"), EXPECTED, 128)[0]
    assert quiet.grade is Grade.SLOW
    assert (
        grades(replace(EVIDENCE, rows=(replace(ROW, samples_tps=(20.0,)),), others_share=0.4))["tg128"]
        is Grade.SLOW
    )


@pytest.mark.parametrize(
    ("samples", "grade", "again"),
    [
        ((38.0, 41.0, 52.0), Grade.UNSTABLE, True),
        ((41.0, 41.0, 41.0), Grade.SLOW, True),  # the floor is 41.6
        ((50.0, 50.0, 50.0), Grade.OK, False),
    ],
)
def test_slow_must_be_seen_twice(samples: tuple[float, ...], grade: Grade, again: bool) -> None:
    evidence = replace(EVIDENCE, rows=(replace(ROW, samples_tps=samples),))
    verdict = verdicts_of(evidence, EXPECTED, 128)[0]
    assert (verdict.grade, deserves_another_run(evidence, verdict)) == (grade, again)


@pytest.mark.parametrize(
    ("samples", "grade"),
    [
        ((20.0, 19.0), Grade.SLOW),  # half the memory leaves a floor of 20.8
        ((20.0, 21.0), Grade.INVALID),
        ((30.0, 30.0), Grade.INVALID),
        ((50.0, 50.0), Grade.OK),
    ],
)
def test_a_busy_memory_excuses_no_more_than_it_explains(samples: tuple[float, ...], grade: Grade) -> None:
    row = replace(ROW, samples_tps=samples, backends="CPU", gpu="")
    evidence = replace(EVIDENCE, backend="cpu", rows=(row,), memory=MemoryNow(20.0, 40.0))
    verdict = verdicts_of(evidence, EXPECTED, 128)[0]
    assert verdict.grade is grade
    assert (grade is Grade.SLOW) == ("explains no speed below 20.80" in verdict.reason)


def test_a_test_that_was_ok_once_is_not_slow() -> None:
    good = verdicts_of(EVIDENCE, EXPECTED, 128)
    slow = verdicts_of(replace(EVIDENCE, rows=(replace(ROW, samples_tps=(30.0,)),)), EXPECTED, 128)
    assert [one.grade for one in confirmed_by_second_run(good, slow)] == [Grade.OK, Grade.OK]
    assert [one.grade for one in confirmed_by_second_run(slow, slow)] == [Grade.SLOW, Grade.OK]
    wrong = verdicts_of(replace(EVIDENCE, rows=(replace(ROW, gpu=""),)), EXPECTED, 128)
    assert confirmed_by_second_run(good, wrong)[0].grade is Grade.WRONG_DEVICE


def test_other_work_does_not_spoil_a_good_run() -> None:
    good = replace(ROW, backends="CPU", gpu="")
    evidence = replace(EVIDENCE, backend="cpu", rows=(good,), others_share=0.4)
    assert grades(evidence)["tg128"] is Grade.OK


def test_on_a_busy_host_the_formula_alone_judges() -> None:
    row = replace(ROW, backends="CPU", gpu="", samples_tps=(43.0, 43.0, 43.0))
    evidence = replace(EVIDENCE, backend="cpu", rows=(row,))
    past = LastGood({"b|m.gguf|1|tg128": {"tps": 58.0}})
    expectations = replace(EXPECTED, last_good=past)
    assert grades(evidence, expectations)["tg128"] is Grade.SLOW
    verdict = verdicts_of(replace(evidence, others_share=0.4), expectations, 128)[0]
    assert (verdict.grade, verdict.expected_tps) == (Grade.OK, 52.0)
    assert "40% of the CPU" in verdict.reason


def test_the_operators_tolerance_replaces_the_band() -> None:
    evidence = replace(EVIDENCE, rows=(replace(ROW, samples_tps=(44.0, 44.0, 44.0)),))
    assert grades(evidence)["tg128"] is Grade.OK
    assert grades(evidence, replace(EXPECTED, tolerance=0.05))["tg128"] is Grade.SLOW


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, True),
        ({"rows": (replace(ROW, samples_tps=(30.0, 30.0, 30.0)),)}, True),  # slow, but right
        ({"conditions": HostConditions(on_mains=False)}, True),
        ({"rows": (replace(ROW, gpu=""),)}, False),
        ({"served": replace(SERVED, outputs=UNLIKE)}, False),
        ({"server_problem": "it serves /other.gguf"}, False),
        ({"served": Served(error="no answer")}, False),
    ],
)
def test_how_answers_begin_is_kept_whatever_the_speed(change: dict[str, object], kept: bool) -> None:
    evidence = replace(EVIDENCE, **change)  # type: ignore[arg-type] # the table names the fields
    found = verdicts_of(evidence, EXPECTED, 128)
    after = with_results(LastGood(), evidence, EXPECTED.subject, found, "now")
    assert any(key.startswith("outputs|") for key in after.entries) is kept


def test_samples_are_given_with_their_spread() -> None:
    rows = runs_json(EVIDENCE, EXPECTED, 128)
    assert [row["test"] for row in rows if isinstance(row, dict)] == ["tg128", "served tg128"]


def host(**settings: object) -> Host:
    sha = "0" * 64
    models = [{"name": name, "host_path": f"/{name}.gguf", "sha256": sha} for name in ("m", "n", "o")]
    instances = [{"name": "a", "model": "m", "port": 8001}, {"name": "b", "model": "n", "port": 8002}]
    rows = {"llama_models": models, "llama_server_instances": instances, **settings}
    return Host("h", Connection("127.0.0.1"), HostSettings.model_validate(rows))


def test_the_first_instances_model_is_measured() -> None:
    assert [(one.model, one.instance_name) for one in targets_of(host())] == [("m", "a")]


def test_all_instances_are_measured_when_asked() -> None:
    assert [one.model for one in targets_of(host(), everything=True)] == ["m", "n"]


def test_the_named_model_is_measured_served_or_not() -> None:
    assert [(one.model, one.instance_name) for one in targets_of(host(smoke_bench={"model": "n"}))] == [
        ("n", "b")
    ]
    assert [(one.model, one.instance_name) for one in targets_of(host(smoke_bench={"model": "o"}))] == [
        ("o", "")
    ]
    with pytest.raises(UsageError, match="not in llama_models"):
        targets_of(host(smoke_bench={"model": "zzz"}))
