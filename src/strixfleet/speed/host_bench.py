"""Measure one host: llama-bench and served requests, judged by what the host should reach."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from strixfleet.errors import GgufError
from strixfleet.findings.expectation import Expectation
from strixfleet.findings.last_good import LastGood, Subject
from strixfleet.findings.results import HostReport
from strixfleet.findings.verdict import Grade, Verdict
from strixfleet.fleet.session import ProbedHost
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.managed.llama_server.server_files import serving_backend
from strixfleet.on_host.questions import Json
from strixfleet.speed.expect.reference_data import library
from strixfleet.speed.expect.references import informed
from strixfleet.speed.expect.roofline import expect
from strixfleet.speed.judge.bench_rows import rows_of
from strixfleet.speed.judge.judge_runs import (
    MAY_CHANGE,
    Expectations,
    confirmed_by_second_run,
    deserves_another_run,
    verdicts_of,
    with_results,
)
from strixfleet.speed.judge.slow_causes import (
    SlowCause,
    SlowRunContext,
    explained,
    ranked,
    slow_causes,
    slower_than_cpu,
    slower_with_draft,
)
from strixfleet.speed.measure.evidence import Evidence, Target, targets_of
from strixfleet.speed.measure.host_answer import HostAnswer
from strixfleet.speed.measure.host_conditions import MemoryNow
from strixfleet.speed.measure.llama_bench import fits_twice
from strixfleet.speed.measure.measure_memory import MemorySpeed, machine_of
from strixfleet.speed.measure.measure_server import Server, cpu_speeds, with_llama_bench
from strixfleet.speed.measure.remote_bench import Bench
from strixfleet.speed.model.model_shape import shape_of


CPU_TOLERANCE = 0.45  # of 60 runs on a virtual machine the slowest prefill reached 58 % of the fastest


class HostBench:
    """The measurement of one host."""

    def __init__(self, host: Host, probed: ProbedHost, bench: Bench) -> None:
        self.host = host
        self.smoke = host.settings.smoke_bench
        self.backend = serving_backend(host.settings, probed.state.machine).name
        self.profile = probed.state.profile
        self.probed = probed
        self.simulated = probed.state.facts.simulated
        self.bench = bench
        self.notes: list[str] = []
        self.answer = HostAnswer()
        self.memory = MemorySpeed(bench, self.answer)

    def measure(self, *, everything: bool, cpu: bool = False) -> HostReport:
        """Measure the chosen models one after the other; with `cpu`, also without the GPU."""
        started = time.monotonic()
        targets = targets_of(self.host, everything=everything)
        self._look(targets)
        last_good = self.answer.last_good
        verdicts: list[Verdict] = []
        extra: dict[str, list[Json]] = {"runs": [], "served": [], "reasons": [], "cpu": []}
        for target in targets:
            evidence, expectations, found = self._judged(target, last_good)
            if any(deserves_another_run(evidence, one) for one in found):
                first = ", ".join(f"{one.test} {one.grade.value}" for one in found if one.needs_attention)
                self._note(f"{target.model}: measured twice; first result: {first}")
                self._look(targets)
                before = found
                evidence, expectations, found = self._judged(target, last_good)
                found = confirmed_by_second_run(before, found)
            evidence = self._against_cpu(evidence) if cpu else evidence
            causes = self._slow_causes(evidence, found)
            verdicts += explained(found, causes)
            for key, rows in rows_of(evidence, expectations, causes, self.smoke.generate_tokens).items():
                extra[key] += rows
            now = datetime.now(UTC).isoformat(timespec="seconds")
            last_good = with_results(last_good, evidence, expectations.subject, found, now)
        self._keep(last_good)
        if not targets:
            embeds = bool(self.host.settings.llama_server_instances)
            why = "every instance embeds or ranks" if embeds else "the inventory describes no instance"
            self._note(f"{why}: nothing to measure")
        return self._report(tuple(verdicts), extra, time.monotonic() - started)

    def _report(
        self, verdicts: tuple[Verdict, ...], rows: Mapping[str, list[Json]], seconds: float
    ) -> HostReport:
        extra: dict[str, Json] = {
            "build": self.answer.build,
            **rows,
            "state": self.answer.conditions.to_json(),
            "bandwidth_gb_s": self.memory.recorded.read_gb_s,
            "notes": [*self.notes],
        }
        simulated = self.simulated
        return HostReport(self.host.name, True, None, simulated, seconds, verdicts=verdicts, extra=extra)

    def _look(self, targets: Sequence[Target]) -> None:
        """Read the host's conditions; if the CPU computes, wait first for other work to end."""
        instances = [one.name for one in self.host.settings.llama_server_instances]
        paths = [path for target in targets for path in target.paths]
        self.answer = self.bench.look(instances, paths, float(self.smoke.calm_s) if self._on_cpu else 0.0)
        self.memory = MemorySpeed(self.bench, self.answer)

    def _judged(
        self, target: Target, last_good: LastGood
    ) -> tuple[Evidence, Expectations, tuple[Verdict, ...]]:
        """Measure one model; if a speed is impossible, memory was measured too slow, so measure it again."""
        evidence = self._evidence(target)
        expectations = self._expectations(target, last_good)
        if evidence.served:
            said, proven = evidence.served.beginnings, evidence.served.recall.calibrated
            changed = last_good.changed_output(expectations.subject, said, proven=proven)
            evidence = replace(evidence, changed_output=changed)
        found = verdicts_of(evidence, expectations, self.smoke.generate_tokens)
        if self._measures_bandwidth and any(one.grade is Grade.IMPOSSIBLE for one in found):
            expectations = self._expectations(target, last_good, again=True)
            found = verdicts_of(evidence, expectations, self.smoke.generate_tokens)
        if self._measures_bandwidth and any(one.grade in MAY_CHANGE for one in found):
            memory = MemoryNow(self.memory.now_gb_s(), self.memory.recorded_gb_s)
            evidence = replace(evidence, memory=memory)
            found = verdicts_of(evidence, expectations, self.smoke.generate_tokens)
        return evidence, expectations, found

    def _against_cpu(self, evidence: Evidence) -> Evidence:
        """Measure without the GPU, too."""
        if self.backend == "cpu":
            self._note("llama_cpp_backend is cpu: there is no GPU to compare with")
        if self.backend == "cpu" or not evidence.rows:
            return evidence
        server, model = Server.of(evidence.target, self.answer), evidence.target.model
        found, problem = cpu_speeds(evidence, server, self.bench, self.smoke)
        for one in found:
            self._note(str(one))
        if not found:
            self._note(f"{model}: not compared with the CPU: {problem or 'the GPU did not compute'}")
        return replace(evidence, against_cpu=found)

    def _slow_causes(self, evidence: Evidence, found: tuple[Verdict, ...]) -> tuple[SlowCause, ...]:
        causes = [cause for one in evidence.against_cpu for cause in slower_than_cpu(one, self.host.name)]
        gain = evidence.draft_gain(self.smoke.generate_tokens)
        if gain:
            self._note(gain.note(evidence.target.model))
            causes += slower_with_draft(gain, evidence.target.instance_name)
        if any(one.grade is Grade.SLOW for one in found):
            server = Server.of(evidence.target, self.answer)
            known = SlowRunContext(
                host=self.host.name,
                backend=self.backend,
                physical_cores=self.probed.state.facts.physical_cores,
                unit_name=server.name,
                unit=server.unit,
                flags=server.flags,
                conditions=evidence.conditions,
                differences=self.probed.differences,
            )
            causes += slow_causes(known)
        return ranked(causes)

    def _keep(self, last_good: LastGood) -> None:
        if last_good != self.answer.last_good and last_good.entries:
            self.bench.keep("last-good.json", last_good.to_json())

    def _evidence(self, target: Target) -> Evidence:
        server = Server.of(target, self.answer)
        conditions = self.answer.conditions
        amd = self.simulated is None and self.profile is not None and self.profile.gfx.startswith("gfx11")
        evidence = Evidence(target, self.backend, amd, conditions, machine=self.probed.state.machine)
        if missing := self.answer.missing(target.paths):
            return replace(evidence, problem=f"{missing} does not exist; `strixfleet provision` fetches it")
        if not self.answer.build:
            return replace(evidence, problem="there is no current build; `strixfleet provision` makes one")
        served, problem = server.served(self.bench, self.smoke)
        evidence = replace(evidence, served=served, server_problem=problem)
        if served:
            self._note(served.recall.note(target.model) or served.together.note(target.model))
        size, free = self.answer.size_bytes(target.paths), conditions.memory.available_bytes
        if server.unit.pid and not fits_twice(size, free):
            note = (
                f"{target.model}: {size / 1e9:.1f} GB do not fit twice; only the running server is measured"
            )
            self._note(note)
            return evidence
        return with_llama_bench(evidence, server, self.bench, self.smoke)

    def _note(self, text: str) -> None:
        if text and text not in self.notes:
            self.notes.append(text)

    @property
    def _on_cpu(self) -> bool:
        """Tell whether the CPU is meant to compute, as it does for a simulated GPU."""
        return self.backend == "cpu" or self.simulated is not None

    @property
    def _measures_bandwidth(self) -> bool:
        known = self.profile is not None and self.profile.bandwidth_gb_s is not None
        return self._on_cpu or not known

    def _expectations(self, target: Target, last_good: LastGood, *, again: bool = False) -> Expectations:
        size_bytes = self.answer.size_bytes(target.paths)
        subject = Subject(str(self.answer.build), target.file_name, size_bytes)
        formula = self._formula(target, again=again)
        past_tolerance = CPU_TOLERANCE if self._on_cpu else None
        return Expectations(subject, formula, last_good, self.smoke.tolerance, past_tolerance)

    def _formula(self, target: Target, *, again: bool) -> Expectation | None:
        if self._on_cpu and self.backend != "cpu":
            self._note("software rendering on a simulated GPU: no expected speed")
            return None
        try:
            shape = shape_of(self.bench.header(list(target.paths), self.answer.files))
            profile = None if self._measures_bandwidth else self.profile
            machine = machine_of(profile, self.memory, again=again)
        except (GgufError, OSError) as problem:
            self._note(f"no expected speed: {problem}")
            return None
        if machine is None:
            self._note("no expected speed: strixfleet-membw could not measure the memory speed")
            return None
        expectation = expect(shape, machine, self.backend)
        return (
            informed(expectation, shape, library().of(shape, self.backend)) if machine.halo else expectation
        )
