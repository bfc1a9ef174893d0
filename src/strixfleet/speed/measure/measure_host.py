"""Measure one host: llama-bench and served requests, judged against what the host should reach."""

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
from strixfleet.speed.judge.measured import (
    Evidence,
    Expectations,
    Target,
    remembered,
    targets_of,
    unless_once_only,
    verdicts_of,
)
from strixfleet.speed.judge.slow_causes import Reason, SlowRunContext, explained, reasons
from strixfleet.speed.measure.host_state import HostMeasure, MemoryNow, map_at
from strixfleet.speed.measure.llama_bench import fits_twice
from strixfleet.speed.measure.measure_memory import MemorySpeed, machine_of
from strixfleet.speed.measure.measure_server import Server, cpu_speeds, with_llama_bench
from strixfleet.speed.measure.remote_bench import Bench
from strixfleet.speed.model.model_shape import shape_of


CPU_TOLERANCE = 0.45  # of 60 runs on a virtual machine the slowest prefill reached 58 % of the fastest


class HostBench:
    """The measurement of one host."""

    def __init__(self, host: Host, seen: ProbedHost, bench: Bench) -> None:
        self.host = host
        self.smoke = host.settings.smoke_bench
        self.backend = serving_backend(host.settings, seen.state.machine).name
        self.profile = seen.state.profile
        self.seen = seen
        self.simulated = seen.state.facts.simulated
        self.bench = bench
        self.notes: list[str] = []
        self.raw: dict[str, Json] = {}

    def measure(self, *, everything: bool, cpu: bool = False) -> HostReport:
        """Measure the chosen models one after the other; with `cpu`, also without the GPU."""
        started = time.monotonic()
        targets = targets_of(self.host, everything=everything)
        self._look(targets)
        last_good = LastGood.from_json(self.raw.get("last_good"))
        verdicts: list[Verdict] = []
        extra: dict[str, list[Json]] = {"runs": [], "served": [], "reasons": [], "cpu": []}
        for target in targets:
            evidence, yardstick, found = self._judged(target, last_good)
            if any(evidence.deserves_another(one) for one in found):
                first = ", ".join(f"{one.test} {one.grade.value}" for one in found if one.needs_attention)
                self._note(f"{target.model}: measured twice; the first time {first}")
                self._look(targets)
                before = found
                evidence, yardstick, found = self._judged(target, last_good)
                found = unless_once_only(before, found)
            evidence = self._against_cpu(evidence) if cpu else evidence
            why = self._why(evidence, found)
            verdicts += explained(found, why)
            for key, rows in rows_of(evidence, yardstick, why, self.smoke.generate_tokens).items():
                extra[key] += rows
            now = datetime.now(UTC).isoformat(timespec="seconds")
            last_good = remembered(last_good, evidence, yardstick.subject, found, now)
        self._keep(last_good)
        if not targets:
            self._note("no instance is described in the inventory: nothing to measure")
        return self._report(tuple(verdicts), extra, time.monotonic() - started)

    def _report(
        self, verdicts: tuple[Verdict, ...], rows: Mapping[str, list[Json]], seconds: float
    ) -> HostReport:
        extra: dict[str, Json] = {
            "build": self.raw.get("build"),
            **rows,
            "state": map_at(self.raw, "state"),
            "bandwidth_gb_s": map_at(self.raw, "bandwidth").get("read_gb_s"),
            "notes": [*self.notes],
        }
        simulated = self.simulated
        return HostReport(self.host.name, True, None, simulated, seconds, verdicts=verdicts, extra=extra)

    def _look(self, targets: Sequence[Target]) -> None:
        """Read the host's state; on a CPU, when other work has ended or was waited for long enough."""
        instances = [one.name for one in self.host.settings.llama_server_instances]
        paths = [path for target in targets for path in target.paths]
        self.raw = self.bench.look(instances, paths, float(self.smoke.calm_s) if self._on_cpu else 0.0)

    def _judged(
        self, target: Target, last_good: LastGood
    ) -> tuple[Evidence, Expectations, tuple[Verdict, ...]]:
        """Measure one model; a speed above what memory allows means that memory was measured too slow."""
        evidence = self._evidence(target)
        yardstick = self._yardstick(target, last_good)
        if evidence.served:
            said, proven = evidence.served.beginnings, evidence.served.planted.calibrated
            changed = last_good.changed_output(yardstick.subject, said, proven=proven)
            evidence = replace(evidence, changed_output=changed)
        found = verdicts_of(evidence, yardstick, self.smoke.generate_tokens)
        if self._measures_bandwidth and any(one.grade is Grade.IMPOSSIBLE for one in found):
            yardstick = self._yardstick(target, last_good, again=True)
            found = verdicts_of(evidence, yardstick, self.smoke.generate_tokens)
        if self._measures_bandwidth and any(one.grade in {Grade.SLOW, Grade.UNSTABLE} for one in found):
            memory = MemorySpeed(self.bench, self.raw)
            evidence = replace(evidence, memory=MemoryNow(memory.now_gb_s(), memory.kept_gb_s))
            found = verdicts_of(evidence, yardstick, self.smoke.generate_tokens)
        return evidence, yardstick, found

    def _against_cpu(self, evidence: Evidence) -> Evidence:
        """Measure without the GPU; what llama-bench could not measure has been said."""
        if self.backend == "cpu":
            self._note("llama_cpp_backend is cpu: there is no GPU to compare with")
        if self.backend == "cpu" or not evidence.rows:
            return evidence
        server, model = Server.of(evidence.target, self.raw), evidence.target.model
        found, problem = cpu_speeds(evidence, server, self.bench, self.smoke)
        for one in found:
            self._note(str(one))
        if not found:
            self._note(f"{model}: not compared with the CPU: {problem or 'the GPU did not compute'}")
        return replace(evidence, against_cpu=found)

    def _why(self, evidence: Evidence, found: tuple[Verdict, ...]) -> tuple[Reason, ...]:
        why = [reason for one in evidence.against_cpu for reason in one.reasons(self.host.name)]
        gain = evidence.draft_gain(self.smoke.generate_tokens)
        if gain:
            self._note(gain.note(evidence.target.model))
            why += gain.reasons(evidence.target.instance_name)
        if any(one.grade is Grade.SLOW for one in found):
            server = Server.of(evidence.target, self.raw)
            cores = self.seen.state.facts.physical_cores
            unit = (server.name, server.unit, server.flags)
            known = (self.host.name, self.backend, cores, *unit, evidence.state, self.seen.differences)
            why += reasons(SlowRunContext(*known))
        return tuple(sorted(why, key=lambda reason: -reason.weight))

    def _keep(self, last_good: LastGood) -> None:
        if last_good.to_json() != self.raw.get("last_good") and last_good.entries:
            self.bench.keep("last-good.json", last_good.to_json())

    def _size_bytes(self, target: Target) -> int:
        sizes = (map_at(self.raw, "files", path).get("size_bytes") for path in target.paths)
        return sum(size for size in sizes if isinstance(size, int))

    def _evidence(self, target: Target) -> Evidence:
        server = Server.of(target, self.raw)
        state = HostMeasure(map_at(self.raw, "state"))
        amd = self.simulated is None and self.profile is not None and self.profile.gfx.startswith("gfx11")
        evidence = Evidence(target, self.backend, amd, state, simulated=self.simulated is not None)
        missing = [path for path in target.paths if not map_at(self.raw, "files", path)]
        if missing:
            return replace(evidence, problem=f"{missing[0]} is not there; `strixfleet provision` fetches it")
        if not self.raw.get("build"):
            return replace(evidence, problem="no build is current; `strixfleet provision` makes one")
        served, problem = server.served(self.bench, self.smoke)
        evidence = replace(evidence, served=served, server_problem=problem)
        self._note(served.planted.note(target.model) if served else "")
        size, free = self._size_bytes(target), state.memory_bytes("available_bytes")
        if server.unit.get("pid") and not fits_twice(size, free):
            note = (
                f"{target.model}: {size / 1e9:.1f} GB do not fit twice; only the running server is measured"
            )
            self._note(note)
            return replace(evidence, left_out=note)
        return with_llama_bench(evidence, server, self.bench, self.smoke)

    def _note(self, text: str) -> None:
        if text and text not in self.notes:
            self.notes.append(text)

    @property
    def _on_cpu(self) -> bool:
        """Tell whether the CPU computes by intent: a simulated GPU is a software driver."""
        return self.backend == "cpu" or self.simulated is not None

    @property
    def _measures_bandwidth(self) -> bool:
        known = self.profile is not None and self.profile.bandwidth_gb_s is not None
        return self._on_cpu or not known

    def _yardstick(self, target: Target, last_good: LastGood, *, again: bool = False) -> Expectations:
        name = target.paths[0].rpartition("/")[2]
        subject = Subject(str(self.raw.get("build")), name, self._size_bytes(target))
        formula = self._formula(target, again=again)
        past_tolerance = CPU_TOLERANCE if self._on_cpu else None
        return Expectations(subject, formula, last_good, self.smoke.tolerance, past_tolerance)

    def _formula(self, target: Target, *, again: bool) -> Expectation | None:
        if self._on_cpu and self.backend != "cpu":
            self._note("a software driver stands in for the simulated GPU: no speed to expect of it")
            return None
        try:
            shape = shape_of(self.bench.header(list(target.paths), map_at(self.raw, "files")))
            profile = None if self._measures_bandwidth else self.profile
            machine = machine_of(profile, MemorySpeed(self.bench, self.raw), again=again)
        except (GgufError, OSError) as problem:
            self._note(f"no expectation: {problem}")
            return None
        if machine is None:
            self._note("the memory's speed could not be measured: strixfleet-membw gave no answer")
            return None
        expectation = expect(shape, machine, self.backend)
        return (
            informed(expectation, shape, library().of(shape, self.backend)) if machine.halo else expectation
        )
