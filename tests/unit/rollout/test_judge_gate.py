"""The gate's judgement, and the pin's line: pure functions."""

import pytest

from strixfleet.errors import UsageError
from strixfleet.findings.items import Cost, Cure, Difference, Status
from strixfleet.findings.verdict import Grade, Verdict
from strixfleet.inventory.schema.fleet_model import Connection, Host, Origin
from strixfleet.inventory.schema.pin import KEY, PinEdit, difference, plan_pin, rewrite
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.on_host.questions import Json
from strixfleet.rollout.gate import wrong_by_now
from strixfleet.rollout.judge_gate import (
    Check,
    Measured,
    Result,
    checks_of,
    doubtful,
    output_check,
    overall,
    slower,
    speed_checks,
)


OLD = {"chat tg128": 50.0, "chat pp512": 400.0}


def verdict(grade: Grade, tps: float | None = 50.0, test: str = "tg128") -> Verdict:
    return Verdict("chat", "m", "vulkan", "gpu", test, tps, 60.0, 50.0, 70.0, grade, "why")


def results(checks: tuple[Check, ...]) -> list[str]:
    return [check.result.value for check in checks]


def test_noise_passes_and_a_loss_beyond_it_fails() -> None:
    within = {"chat tg128": 45.5, "chat pp512": 401.0}
    assert slower(OLD, within) == {}
    assert overall(speed_checks(Measured(OLD, within))) == (Result.PASSED, "")
    beyond = {"chat tg128": 44.0, "chat pp512": 401.0}
    again = {"chat tg128": 50.5, "chat pp512": 399.0}
    result, reason = overall(speed_checks(Measured(OLD, beyond, again)))
    assert result is Result.FAILED
    assert "44.00 t/s, the previous build reached 50.00: -12%" in reason


def test_heat_condemns_nobody() -> None:
    hot = {"chat tg128": 30.0, "chat pp512": 240.0}
    again = {"chat tg128": 31.0, "chat pp512": 250.0}
    assert results(speed_checks(Measured(OLD, hot, again))) == ["invalid", "invalid"]
    slow_too = {"chat tg128": 15.0, "chat pp512": 120.0}
    assert results(speed_checks(Measured(OLD, slow_too, again))) == ["failed", "failed"]


def test_a_published_pair_goes_back_for_its_prefill() -> None:
    """From b10662 to b10723 prefill fell from 429 to 216 t/s while decode moved by 6 % (llama.cpp #28160)."""
    before = {"chat pp512": 429.0, "chat tg128": 50.0}
    result, reason = overall(
        speed_checks(Measured(before, {"chat pp512": 216.0, "chat tg128": 47.0}, before))
    )

    assert result is Result.FAILED
    assert reason == "chat pp512 speed: 216.00 t/s, the previous build reached 429.00: -50%"


def test_a_busy_host_and_a_missing_measurement_are_doubts() -> None:
    busy = Measured(OLD, {"chat tg128": 20.0, "chat pp512": 400.0}, doubts=frozenset({"chat tg128"}))
    assert results(speed_checks(busy)) == ["invalid", "passed"]
    assert results(speed_checks(Measured(OLD, {"chat tg128": 50.0}))) == ["passed", "invalid"]


def test_a_host_that_became_faster_gives_no_licence() -> None:
    again = {"chat tg128": 100.0, "chat pp512": 800.0}
    assert results(speed_checks(Measured(OLD, OLD, again))) == ["passed", "passed"]


@pytest.mark.parametrize(
    ("grade", "before", "result"),
    [
        (Grade.OK, OLD, "passed"),
        (Grade.SLOW, OLD, "passed"),
        (Grade.SLOW, {}, "failed"),
        (Grade.INVALID, OLD, "passed"),
        (Grade.INVALID, {}, "invalid"),
        (Grade.UNSTABLE, {}, "invalid"),
        (Grade.IMPOSSIBLE, {}, "invalid"),
        (Grade.IMPOSSIBLE, OLD, "passed"),
        (Grade.IMPOSSIBLE, {"chat tg128": 25.0}, "invalid"),
        (Grade.WRONG_OUTPUT, OLD, "failed"),
        (Grade.WRONG_DEVICE, OLD, "failed"),
    ],
)
def test_verdicts_become_checks(grade: Grade, before: dict[str, float], result: str) -> None:
    assert results(checks_of([verdict(grade)], before)) == [result]


def test_a_claim_beyond_what_memory_allows_never_passes() -> None:
    claim = [verdict(Grade.IMPOSSIBLE, 1e300)]
    speeds = Measured(OLD, {"chat tg128": 1e300, "chat pp512": 400.0})
    assert overall([*checks_of(claim, OLD), *speed_checks(speeds)])[0] is Result.INVALID


def test_an_invalid_run_without_speed_stays_a_doubt() -> None:
    rows = [verdict(Grade.INVALID, None)]
    assert results(checks_of(rows, OLD)) == ["invalid"]
    assert doubtful(rows) == {"chat tg128"}


def test_outputs() -> None:
    old = [5, 6, 7, 8]
    assert output_check("chat", old, [5, 6, 9, 9]).result is Result.PASSED
    assert "begins with token 9" in output_check("chat", old, [9, 6, 7, 8]).reason
    assert "repeats token 5" in output_check("chat", old, [5, 5, 5, 5]).reason
    assert output_check("chat", old, []).result is Result.FAILED
    assert output_check("chat", [], []).result is Result.PASSED


def pinned(name: str, ref: str | None, origin: Origin | None) -> Host:
    origins = {KEY: origin} if origin else {}
    return Host(name, Connection("127.0.0.1"), HostSettings(llama_cpp_ref=ref), origins=origins)


LINE = Origin("group_vars/all.yml", 2)


def test_the_pins_line_is_found_once() -> None:
    hosts = [pinned(name, "b1", LINE) for name in ("a", "b")]
    assert plan_pin(hosts, hosts, "b2") == (PinEdit("group_vars/all.yml", 2, "b1", "b2"),)
    assert plan_pin(hosts, hosts, "b1") == ()


@pytest.mark.parametrize(
    ("selected", "everyone", "message"),
    [
        ([pinned("a", "b1", Origin("f", 3, templated=True))], [], "f:3: llama_cpp_ref is a template"),
        ([pinned("a", "b1", LINE)], [pinned("b", "b1", LINE)], r"all.yml:2: this line also pins b"),
        ([pinned("a", "b1", None)], [], "a: the line that sets llama_cpp_ref is not known"),
        ([pinned("a", None, None)], [], "is not known"),
    ],
)
def test_a_line_that_cannot_be_rewritten_is_refused(
    selected: list[Host], everyone: list[Host], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        plan_pin(selected, [*selected, *everyone], "b2")
    assert refused.value.hint


@pytest.mark.parametrize(
    "line",
    ["llama_cpp_ref: b1  # why\n", "  llama_cpp_ref: 'b1'\r\n", 'h1 x=1 llama_cpp_ref=b1 y="b1"\n'],
)
def test_only_the_pin_changes(line: str) -> None:
    text = f"first: b1\n{line}last: b1"
    changed = rewrite(text, [PinEdit("f", 2, "b1", "b2")])
    assert changed == f"first: b1\n{line.replace('b1', 'b2', 1)}last: b1"
    assert "+" + line.replace("b1", "b2", 1).rstrip() in difference("f", text, changed)


@pytest.mark.parametrize("line", ["llama_cpp_ref: b10", "llama_cpp_ref: !vault |", "other: b1", ""])
def test_a_line_that_reads_otherwise_is_left(line: str) -> None:
    with pytest.raises(UsageError, match="f:1: the line is not"):
        rewrite(line, [PinEdit("f", 1, "b1", "b2")])


def row(item: str, have: Json, want: Json, status: Status = Status.DRIFT) -> Difference:
    return Difference(item, status, want, have, Cure.PROVISION, Cost.RESTART)


def test_what_was_amiss_before_is_not_blamed_on_the_build() -> None:
    want: Json = {"config": "new", "build": "current", "active": "active"}
    waits: Json = {"config": "old", "build": "current", "active": "active"}
    other: Json = {"config": "old", "build": "b1", "active": "active"}
    server = "llama_server:chat"
    assert "config is old, not new" in wrong_by_now(row(server, waits, want), frozenset())
    assert wrong_by_now(row(server, waits, want), frozenset({server})) == ""
    assert "build is b1, not current" in wrong_by_now(row(server, other, want), frozenset({server}))
    assert wrong_by_now(row("llama_server:stale", ["x"], []), frozenset({"llama_server:stale"})) == ""
    assert "llama_server:stale is ['x']" in wrong_by_now(row("llama_server:stale", ["x"], []), frozenset())
    assert wrong_by_now(row(server, want, want, Status.OK), frozenset()) == ""
