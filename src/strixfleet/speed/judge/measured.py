"""What was measured for one model on one host, and the verdicts that follow."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf

from strixfleet.errors import UsageError
from strixfleet.findings.expectation import Expectation
from strixfleet.findings.last_good import LastGood, Subject, Tolerated
from strixfleet.findings.verdict import BenchRun, Grade, Verdict, judge
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.inventory.schema.parts import Instance
from strixfleet.managed.llama_models.model_store import stored_files
from strixfleet.speed.measure.against_cpu import AgainstCpu
from strixfleet.speed.measure.draft import DraftGain
from strixfleet.speed.measure.host_state import (
    UNKNOWN_MEMORY,
    HostMeasure,
    MemoryNow,
    busy_remark,
    wrong_state,
)
from strixfleet.speed.measure.llama_bench import BenchRow, test_name, wrong_device
from strixfleet.speed.measure.served import Served


SERVED = "served "
NO_PROOF = frozenset({Grade.WRONG_OUTPUT, Grade.WRONG_DEVICE, Grade.IMPOSSIBLE})
Verdicts = tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """A model to measure, and the instance that serves it, if one does."""

    model: str
    paths: tuple[str, ...]
    instance: Instance | None

    @property
    def instance_name(self) -> str:
        """Name the instance as verdicts do."""
        return self.instance.name if self.instance else ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was seen while one target was measured; `problem` says why llama-bench gave nothing."""

    target: Target
    backend: str
    amd: bool
    state: HostMeasure
    rows: tuple[BenchRow, ...] = ()
    problem: str = ""
    left_out: str = ""
    served: Served | None = None
    server_problem: str = ""
    others_share: float = 0.0
    memory: MemoryNow = UNKNOWN_MEMORY
    changed_output: str = ""
    simulated: bool = False
    against_cpu: tuple[AgainstCpu, ...] = ()

    def runs(self, generate_tokens: int) -> Iterator[BenchRun]:
        """Return each test as the judge wants it."""
        state = wrong_state(self.state)
        if self.problem:
            yield replace(self._run(test_name(0, generate_tokens, 0), ()), invalid_state=(self.problem,))
        for row in self.rows:
            run = self._run(row.test, row.samples_tps, row.device)
            yield replace(run, wrong_device=self.wrong_device(row), invalid_state=state)
        if self.target.instance is not None:
            yield self._served_run(generate_tokens, state)

    def draft_gain(self, generate_tokens: int) -> DraftGain | None:
        """Compare decode with the draft model and without; None where there is none."""
        plain = test_name(0, generate_tokens, 0)
        bench = next((row.measured_tps for row in self.rows if row.test == plain), None)
        return self.served.draft.gain(bench) if self.served else None

    def wrong_device(self, row: BenchRow) -> str:
        """Return the evidence that not the wanted device computed; empty where it did."""
        return wrong_device(row, self.backend, amd=self.amd, software=self.simulated)

    def disturbed(self, test: str) -> str:
        """Say what other work may have slowed a run on the CPU."""
        if self.backend != "cpu" and not self.simulated:
            return self.memory.remark
        served = self.served.others_share if self.served else 0.0
        during = served if test.startswith(SERVED) else self.others_share
        return busy_remark(self.state.busy_share, during) or self.memory.remark

    def deserves_another(self, verdict: Verdict) -> bool:
        """Tell whether a second try may tell more: nobody is called slow who was not so twice."""
        busy = self.disturbed(verdict.test)
        spoiled = bool(busy) and verdict.grade is Grade.INVALID and busy in verdict.reason
        return spoiled or verdict.grade in {Grade.SLOW, Grade.UNSTABLE}

    def _served_run(self, generate_tokens: int, state: tuple[str, ...]) -> BenchRun:
        served = self.served or Served(error="was not asked")
        test = SERVED + test_name(0, generate_tokens, 0)
        device = self.rows[0].device if self.rows else "unknown"
        run = self._run(test, served.decode_tps, device)
        problem = self.server_problem or served.error
        if problem is None and served.busy_slots:
            problem = f"it answers {served.busy_slots} other requests"
        if problem:
            return replace(run, invalid_state=(f"the server: {problem}",))
        drafts = served.drafted or (
            self.target.instance is not None and bool(self.target.instance.draft_model)
        )
        wrong = served.wrong_output() or self.changed_output
        return replace(run, wrong_output=wrong, invalid_state=state, speculated=drafts)

    def _run(self, test: str, samples: tuple[float, ...], device: str = "unknown") -> BenchRun:
        name = self.target.instance_name
        return BenchRun(name, self.target.model, self.backend, device, test, samples)


@dataclass(frozen=True, slots=True)
class Expectations:
    """What runs are held against: the formula for decoding, what was reached before, what may be missing."""

    subject: Subject
    formula: Expectation | None
    last_good: LastGood
    tolerance: float | None = None
    past_tolerance: float | None = None

    def of(self, run: BenchRun) -> Expectation | None:
        """Return expectation for one run; no ceiling where one read of the weights gave several tokens."""
        found = self.expectation(run.test)
        return replace(found, ceiling_tps=inf) if found and run.speculated else found

    def expectation(self, test: str) -> Expectation | None:
        """Return the expectation for one test; prefill has none but its past."""
        decodes = test.removeprefix(SERVED).startswith("tg")
        formula = self.formula if decodes else None
        found = self.last_good.expectation(self.subject, test, formula, self.past_tolerance)
        if found is None or self.tolerance is None:
            return found
        fields = (found.expected_tps, found.ceiling_tps, found.basis, found.reason, found.notes)
        return Tolerated(*fields, tolerance=self.tolerance)


def targets_of(host: Host, *, everything: bool = False) -> tuple[Target, ...]:
    """Choose what is measured: `smoke_bench.model`, else the first instance's model; or all instances'."""
    settings = host.settings
    models = {model.name: tuple(file.path for file in stored_files(model)) for model in settings.llama_models}
    found = [Target(one.model, models[one.model], one) for one in settings.llama_server_instances]
    if everything:
        return tuple(found)
    wanted = settings.smoke_bench.model
    if wanted is None:
        return tuple(found[:1])
    serving = next((target for target in found if target.model == wanted), None)
    if serving is None and wanted not in models:
        raise UsageError(f"smoke_bench.model {wanted!r} is not in llama_models", where=host.name)
    return (serving or Target(wanted, models[wanted], None),)


def verdicts_of(evidence: Evidence, yardstick: Expectations, generate_tokens: int) -> tuple[Verdict, ...]:
    """
    Judge all runs of one target.

    Other work excuses a slow run, as far as it can explain it: then the state was wrong, not the host.
    """
    found = []
    for run in evidence.runs(generate_tokens):
        expectation = yardstick.of(run)
        verdict = judge(run, expectation)
        busy = evidence.disturbed(run.test)
        if busy and verdict.grade in {Grade.SLOW, Grade.UNSTABLE}:
            verdict = _disturbed(run, yardstick, evidence.memory, busy)
        found.append(verdict)
    return tuple(found)


def unless_once_only(first: Verdicts, second: Verdicts) -> Verdicts:
    """Let a test stay ok that was so at first: slow or unstable is who was not ok twice."""
    good = {one.test: one for one in first if one.grade is Grade.OK}
    once = {Grade.SLOW, Grade.UNSTABLE}
    return tuple(good.get(one.test, one) if one.grade in once else one for one in second)


def _disturbed(run: BenchRun, yardstick: Expectations, memory: MemoryNow, busy: str) -> Verdict:
    """
    Judge a run beside other work: by the formula's wide band, never by what a quiet host once did.

    What is slower than even the memory that others leave explains is slow.
    """
    expectation = replace(yardstick, last_good=LastGood()).of(run)
    verdict = judge(run, expectation)
    if verdict.grade is Grade.OK:
        return replace(verdict, reason=f"{verdict.reason}; {busy}")
    least = (verdict.floor_tps or 0.0) * memory.share
    if busy == memory.remark and max(run.samples_tps, default=inf) < least:
        reason = f"{verdict.reason}; {busy}, which explains no less than {least:.2f}"
        return replace(verdict, reason=reason)
    return judge(replace(run, invalid_state=(busy,)), expectation)


def remembered(
    last_good: LastGood, evidence: Evidence, subject: Subject, found: Verdicts, at: str
) -> LastGood:
    """Keep what this run proved: good speeds, and how the answers begin, which no busy host changes."""
    kept = last_good.with_runs(subject, found, at)
    served = evidence.served
    if served is None or served.error or evidence.server_problem or NO_PROOF & {one.grade for one in found}:
        return kept
    return kept.with_output(subject, served.beginnings, at, proven=served.planted.calibrated)
