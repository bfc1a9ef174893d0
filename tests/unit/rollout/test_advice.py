"""Advice is what passed last and was not taken back since."""

from strixfleet.findings.runs import RunRow
from strixfleet.on_host.questions import Json
from strixfleet.rollout.advice import newest_passed


def run(number: int, ref: str, **outcomes: str) -> RunRow:
    rows: dict[str, Json] = {
        name: {"ref": ref, "outcome": outcome, "gate": [{"check": "up", "reason": "1 healthy"}]}
        for name, outcome in outcomes.items()
    }
    return RunRow(number, "upgrade", f"2026-01-0{number}", 0, {"hosts": rows})


def test_the_newest_that_passed() -> None:
    runs = [run(3, "b3", a="skipped"), run(2, "b2", a="upgraded"), run(1, "b1", a="upgraded")]
    found = newest_passed(runs, ["a"])
    assert found is not None
    assert (found.ref, found.host, found.at, found.gate) == ("b2", "a", "2026-01-02", ("up: 1 healthy",))


def test_what_went_back_since_or_passed_elsewhere_is_no_advice() -> None:
    runs = [run(3, "b2", b="returned"), run(2, "b2", a="upgraded"), run(1, "b1", a="upgraded")]
    found = newest_passed(runs, ["a", "b"])
    assert found is not None
    assert found.ref == "b1"
    assert newest_passed(runs, ["c"]) is None
    assert newest_passed([], ["a"]) is None
