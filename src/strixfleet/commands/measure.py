"""Measure one host: llama-bench and served requests, judged against what the host should reach."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from strixfleet.adapters.bench import Bench
from strixfleet.adapters.reference_data import library
from strixfleet.commands.measure_memory import MemorySpeed, machine_of
from strixfleet.commands.session import Seen
from strixfleet.core.bench import BenchUnreadableError, bench_arguments, fits_twice, parse_bench
from strixfleet.core.bench_state import HostMeasure, map_at, slow_memory_remark
from strixfleet.core.expectation import Expectation
from strixfleet.core.fleet import Host
from strixfleet.core.last_good import LastGood, Subject
from strixfleet.core.measured import (
    Evidence,
    Target,
    Yardstick,
    latency_json,
    remembered,
    runs_json,
    targets_of,
    verdicts_of,
)
from strixfleet.core.model_shape import shape_of
from strixfleet.core.questions import Json
from strixfleet.core.reasons import Circumstances, Reason, explained, reasons
from strixfleet.core.references import informed
from strixfleet.core.results import HostReport
from strixfleet.core.roofline import expect
from strixfleet.core.served import PROMPTS, Served, served_body, served_from
from strixfleet.core.server_flags import ServerFlags
from strixfleet.core.server_unit import KEYS, unit_name
from strixfleet.core.verdict import Grade, Verdict
from strixfleet.errors import GgufError


BENCH_TIMEOUT_S = 1800
REQUEST_TIMEOUT_S = 600
CALM_S = 45.0  # what other work on a CPU is waited for
CPU_TOLERANCE = 0.25  # quiet runs of one host differ by this much on a virtual machine (seen on two cores)
ALIKE_TOKENS = 8
SERVED_PROMPT_TOKENS = 64


class HostBench:
    """The measurement of one host."""

    def __init__(self, host: Host, seen: Seen, bench: Bench) -> None:
        self.host = host
        self.smoke = host.settings.smoke_bench
        self.backend = host.settings.llama_cpp_backend
        self.profile = seen.state.profile
        self.seen = seen
        self.simulated = seen.state.facts.simulated
        self.bench = bench
        self.notes: list[str] = []
        self.raw: dict[str, Json] = {}

    def measure(self, *, everything: bool) -> HostReport:
        """Measure the chosen models one after the other."""
        started = time.monotonic()
        targets = targets_of(self.host, everything=everything)
        self._look(targets)
        last_good = LastGood.from_json(self.raw.get("last_good"))
        verdicts: list[Verdict] = []
        extra: dict[str, list[Json]] = {"runs": [], "served": [], "reasons": []}
        for target in targets:
            evidence, yardstick, found = self._judged(target, last_good)
            if any(evidence.excuses(one) for one in found):
                self._look(targets)
                evidence, yardstick, found = self._judged(target, last_good)
            why = self._why(target) if any(one.grade is Grade.SLOW for one in found) else ()
            verdicts += explained(found, why)
            extra["reasons"] += [{"instance": target.instance_name, **one.to_json()} for one in why]
            extra["runs"] += runs_json(evidence, yardstick, self.smoke.generate_tokens)
            extra["served"] += [{"instance": target.instance_name, **latency_json(evidence.served)}]
            now = datetime.now(UTC).isoformat(timespec="seconds")
            last_good = remembered(last_good, evidence, yardstick.subject, found, now)
        self._keep(last_good)
        if not targets:
            self.notes.append("no instance is described in the inventory: nothing to measure")
        return HostReport(
            self.host.name,
            reachable=True,
            simulated=self.simulated,
            seconds=time.monotonic() - started,
            verdicts=tuple(verdicts),
            extra={
                "build": self.raw.get("build"),
                **{key: list(rows) for key, rows in extra.items()},
                "state": map_at(self.raw, "state"),
                "bandwidth_gb_s": map_at(self.raw, "bandwidth").get("read_gb_s"),
                "notes": list(dict.fromkeys(self.notes)),
            },
        )

    def _look(self, targets: Sequence[Target]) -> None:
        """Read the host's state; on a CPU, when other work has ended or was waited for long enough."""
        instances = [one.name for one in self.host.settings.llama_server_instances]
        paths = [path for target in targets for path in target.paths]
        self.raw = self.bench.look(instances, paths, CALM_S if self._on_cpu else 0.0)

    def _judged(self, target: Target, last_good: LastGood) -> tuple[Evidence, Yardstick, tuple[Verdict, ...]]:
        """Measure one model; a speed above what memory allows means that memory was measured too slow."""
        evidence = self._evidence(target)
        yardstick = self._yardstick(target, last_good)
        said = evidence.served.beginnings if evidence.served else ()
        evidence = replace(evidence, changed_output=last_good.changed_output(yardstick.subject, said))
        found = verdicts_of(evidence, yardstick, self.smoke.generate_tokens)
        if self._measures_bandwidth and any(one.grade is Grade.IMPOSSIBLE for one in found):
            yardstick = self._yardstick(target, last_good, again=True)
            found = verdicts_of(evidence, yardstick, self.smoke.generate_tokens)
        if self._measures_bandwidth and any(one.grade in {Grade.SLOW, Grade.UNSTABLE} for one in found):
            memory = MemorySpeed(self.bench, self.raw)
            remark = slow_memory_remark(memory.now_gb_s(), memory.kept_gb_s)
            evidence = replace(evidence, slow_memory=remark)
            found = verdicts_of(evidence, yardstick, self.smoke.generate_tokens)
        return evidence, yardstick, found

    def _why(self, target: Target) -> tuple[Reason, ...]:
        unit, flags = self._server(target)
        name = unit_name(target.instance_name) if target.instance else "no unit"
        state = HostMeasure(map_at(self.raw, "state"))
        cores = self.seen.state.facts.physical_cores
        circumstances = (self.host.name, self.backend, cores, name, unit, flags, state)
        return reasons(Circumstances(*circumstances, self.seen.differences))

    def _keep(self, last_good: LastGood) -> None:
        if last_good.to_json() != self.raw.get("last_good") and last_good.entries:
            self.bench.keep("last-good.json", last_good.to_json())

    def _size_bytes(self, target: Target) -> int:
        sizes = (map_at(self.raw, "files", path).get("size_bytes") for path in target.paths)
        return sum(size for size in sizes if isinstance(size, int))

    def _server(self, target: Target) -> tuple[dict[str, Json], ServerFlags | None]:
        if target.instance is None:
            return {}, None
        unit = map_at(self.raw, "instances", target.instance.name)
        argv, environment = unit.get("argv"), map_at(unit, "environment")
        if isinstance(argv, list) and argv:
            named = {name: str(value) for name, value in environment.items()}
            return unit, ServerFlags(tuple(str(word) for word in argv), named)
        return unit, ServerFlags.of_instance(target.instance)

    def _evidence(self, target: Target) -> Evidence:
        unit, command = self._server(target)
        state = HostMeasure(map_at(self.raw, "state"))
        amd = self.simulated is None and self.profile is not None and self.profile.gfx.startswith("gfx11")
        evidence = Evidence(target, self.backend, amd, state, simulated=self.simulated is not None)
        missing = [path for path in target.paths if not map_at(self.raw, "files", path)]
        if missing:
            return replace(evidence, problem=f"{missing[0]} is not there; `strixfleet provision` fetches it")
        if not self.raw.get("build"):
            return replace(evidence, problem="no build is current; `strixfleet provision` makes one")
        served, problem = self._served(target, unit, command)
        evidence = replace(evidence, served=served, server_problem=problem)
        loaded = bool(unit.get("pid"))
        size, free = self._size_bytes(target), state.memory_bytes("available_bytes")
        if loaded and not fits_twice(size, free):
            note = (
                f"{target.model}: {size / 1e9:.1f} GB do not fit twice; only the running server is measured"
            )
            self.notes.append(note)
            return replace(evidence, left_out=note)
        return self._bench(evidence, unit, command)

    def _bench(self, evidence: Evidence, unit: Mapping[str, Json], command: ServerFlags | None) -> Evidence:
        options = command.bench_options() if command else []
        request: dict[str, Json] = {
            "program": "llama-bench",
            "arguments": [*bench_arguments(evidence.target.paths[0], self.smoke, options)],
            "pid": unit.get("pid"),
            "cores": unit.get("cores"),
            "nice": unit.get("nice"),
            "environment": {**(command.environment if command else {})},
            "users": ["nobody"],
        }
        done = self.bench.program(request, BENCH_TIMEOUT_S)
        if done["exit_code"] != 0:
            said = (str(done["stderr"]).strip() or "it said nothing").splitlines()[-1]
            return replace(evidence, problem=f"llama-bench ended with {done['exit_code']}: {said[:200]}")
        others = done.get("others_share")
        try:
            rows = parse_bench(str(done["stdout"]))
        except BenchUnreadableError as problem:
            return replace(evidence, problem=str(problem))
        share = float(others) if isinstance(others, int | float) else 0.0
        return replace(evidence, rows=rows, others_share=share)

    def _served(
        self, target: Target, unit: Mapping[str, Json], command: ServerFlags | None
    ) -> tuple[Served | None, str]:
        if target.instance is None or command is None:
            return None, ""
        if unit.get("state") != "active":
            return None, f"{unit_name(target.instance.name)} is {unit.get('state')}"
        request: dict[str, Json] = {
            "url": command.url,
            "pid": unit.get("pid"),
            "key_file": f"{KEYS}/{target.instance.name}" if target.instance.api_key else None,
            "body": served_body(SERVED_PROMPT_TOKENS, self.smoke.generate_tokens),
            "repetitions": self.smoke.repetitions,
            "repeat_tokens": ALIKE_TOKENS,
            "prompts": [*PROMPTS],
        }
        served = served_from(self.bench.served(request, REQUEST_TIMEOUT_S))
        if served.model_path and served.model_path not in target.paths:
            return served, f"it serves {served.model_path}, not {target.paths[0]}; a restart is due"
        return served, ""

    @property
    def _on_cpu(self) -> bool:
        """Tell whether the CPU computes by intent: a simulated GPU is a software driver."""
        return self.backend == "cpu" or self.simulated is not None

    @property
    def _measures_bandwidth(self) -> bool:
        known = self.profile is not None and self.profile.bandwidth_gb_s is not None
        return self._on_cpu or not known

    def _yardstick(self, target: Target, last_good: LastGood, *, again: bool = False) -> Yardstick:
        name = target.paths[0].rpartition("/")[2]
        subject = Subject(str(self.raw.get("build")), name, self._size_bytes(target))
        formula = self._formula(target, again=again)
        past_tolerance = CPU_TOLERANCE if self._on_cpu else None
        return Yardstick(subject, formula, last_good, self.smoke.tolerance, past_tolerance)

    def _formula(self, target: Target, *, again: bool) -> Expectation | None:
        if self._on_cpu and self.backend != "cpu":
            self.notes.append("a software driver stands in for the simulated GPU: no speed to expect of it")
            return None
        try:
            shape = shape_of(self.bench.header(list(target.paths), map_at(self.raw, "files")))
            profile = None if self._measures_bandwidth else self.profile
            machine = machine_of(profile, MemorySpeed(self.bench, self.raw), again=again)
        except (GgufError, OSError) as problem:
            self.notes.append(f"no expectation: {problem}")
            return None
        if machine is None:
            self.notes.append("the memory's speed could not be measured: strixfleet-membw gave no answer")
            return None
        expectation = expect(shape, machine, self.backend)
        return (
            informed(expectation, shape, library().of(shape, self.backend)) if machine.halo else expectation
        )
