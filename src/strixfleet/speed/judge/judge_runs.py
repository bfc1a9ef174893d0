"""Verdicts on what was measured for one model on one host."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf

from strixfleet.findings.expectation import Expectation
from strixfleet.findings.last_good import LastGood, Subject, Tolerated
from strixfleet.findings.verdict import BenchRun, Grade, Verdict, judge
from strixfleet.speed.measure.evidence import SERVED, Evidence
from strixfleet.speed.measure.host_conditions import MemoryNow, problems_of
from strixfleet.speed.measure.llama_bench import test_name
from strixfleet.speed.measure.served import Served


MAY_CHANGE = frozenset({Grade.SLOW, Grade.UNSTABLE})  # grades that a second try may improve
NO_PROOF = frozenset({Grade.WRONG_OUTPUT, Grade.WRONG_DEVICE, Grade.IMPOSSIBLE})
Verdicts = tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Expectations:
    """What runs are compared with: the formula for decoding, the last good runs, and the tolerances."""

    subject: Subject
    formula: Expectation | None
    last_good: LastGood
    tolerance: float | None = None
    past_tolerance: float | None = None

    def of(self, run: BenchRun) -> Expectation | None:
        """Return the expectation for a run; a run that speculated has no ceiling."""
        found = self.expectation(run.test)
        return replace(found, ceiling_tps=inf) if found and run.speculated else found

    def expectation(self, test: str) -> Expectation | None:
        """Return the expectation for a test; for prefill there is no formula, only the last good run."""
        decodes = test.removeprefix(SERVED).startswith("tg")
        formula = self.formula if decodes else None
        found = self.last_good.expectation(self.subject, test, formula, self.past_tolerance)
        if found is None or self.tolerance is None:
            return found
        fields = (found.expected_tps, found.ceiling_tps, found.basis, found.reason, found.notes)
        return Tolerated(*fields, tolerance=self.tolerance)


def bench_runs(evidence: Evidence, generate_tokens: int) -> Iterator[BenchRun]:
    """Return each test as a run to be judged."""
    state = problems_of(evidence.conditions)
    if evidence.problem:
        failed = _run(evidence, test_name(0, generate_tokens, 0), ())
        yield replace(failed, invalid_state=(evidence.problem,))
    for row in evidence.rows:
        run = _run(evidence, row.test, row.samples_tps, row.device)
        yield replace(run, wrong_device=evidence.wrong_device(row), invalid_state=state)
    if evidence.target.instance is not None:
        yield _served_run(evidence, generate_tokens, state)


def _served_run(evidence: Evidence, generate_tokens: int, state: tuple[str, ...]) -> BenchRun:
    served = evidence.served or Served(error="no requests were sent")
    device = evidence.rows[0].device if evidence.rows else "unknown"
    run = _run(evidence, SERVED + test_name(0, generate_tokens, 0), served.decode_tps, device)
    problem = evidence.server_problem or served.error
    if problem is None and served.busy_slots:
        problem = f"it is answering {served.busy_slots} other requests"
    if problem:
        return replace(run, invalid_state=(f"the server: {problem}",))
    instance = evidence.target.instance
    has_draft_model = instance is not None and bool(instance.draft_model)
    wrong = served.wrong_output() or evidence.changed_output
    return replace(run, wrong_output=wrong, invalid_state=state, speculated=served.drafted or has_draft_model)


def _run(evidence: Evidence, test: str, samples: tuple[float, ...], device: str = "unknown") -> BenchRun:
    target = evidence.target
    return BenchRun(target.instance_name, target.model, evidence.backend, device, test, samples)


def verdicts_of(evidence: Evidence, expectations: Expectations, generate_tokens: int) -> Verdicts:
    """
    Judge all runs of one target.

    Other work on the host excuses a slow run, as far as it can explain it: then the run is invalid.
    """
    found = []
    for run in bench_runs(evidence, generate_tokens):
        verdict = judge(run, expectations.of(run))
        busy = evidence.disturbed(run.test)
        if busy and verdict.grade in MAY_CHANGE:
            verdict = _judge_disturbed(run, expectations, evidence.memory, busy)
        found.append(verdict)
    return tuple(found)


def deserves_another_run(evidence: Evidence, verdict: Verdict) -> bool:
    """Tell whether to measure again: a host is called slow only after two slow runs."""
    busy = evidence.disturbed(verdict.test)
    spoiled = bool(busy) and verdict.grade is Grade.INVALID and busy in verdict.reason
    return spoiled or verdict.grade in MAY_CHANGE


def confirmed_by_second_run(first: Verdicts, second: Verdicts) -> Verdicts:
    """
    Return the second verdicts, but the first one for a test that was ok before and is slow or unstable now.

    A host is called slow only if it was slow twice.
    """
    ok_at_first = {one.test: one for one in first if one.grade is Grade.OK}
    return tuple(ok_at_first.get(one.test, one) if one.grade in MAY_CHANGE else one for one in second)


def _judge_disturbed(run: BenchRun, expectations: Expectations, memory: MemoryNow, busy: str) -> Verdict:
    """
    Judge a run on a busy host: by the wide band of the formula, never by the last good run.

    A run is still slow if it is slower than the memory speed left by other work explains.
    """
    expectation = replace(expectations, last_good=LastGood()).of(run)
    verdict = judge(run, expectation)
    if verdict.grade is Grade.OK:
        return replace(verdict, reason=f"{verdict.reason}; {busy}")
    explained_tps = (verdict.floor_tps or 0.0) * memory.share
    if busy == memory.remark and max(run.samples_tps, default=inf) < explained_tps:
        reason = f"{verdict.reason}; {busy}, which explains no speed below {explained_tps:.2f} t/s"
        return replace(verdict, reason=reason)
    return judge(replace(run, invalid_state=(busy,)), expectation)


def with_results(
    last_good: LastGood, evidence: Evidence, subject: Subject, found: Verdicts, at: str
) -> LastGood:
    """Record what this run proved: good speeds, and how the answers begin (also on a busy host)."""
    kept = last_good.with_runs(subject, found, at)
    served = evidence.served
    if served is None or served.error or evidence.server_problem or NO_PROOF & {one.grade for one in found}:
        return kept
    return kept.with_output(subject, served.beginnings, at, proven=served.recall.calibrated)
