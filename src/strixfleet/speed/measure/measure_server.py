"""Measure one model through its server, and through llama-bench run as the server runs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from strixfleet.inventory.schema.parts import SmokeBench
from strixfleet.managed.llama_server.server_unit import KEYS, unit_name
from strixfleet.on_host.questions import Json
from strixfleet.speed.judge.measured import Evidence, Target
from strixfleet.speed.measure.against_cpu import AgainstCpu, against_cpu
from strixfleet.speed.measure.draft import draft_wish
from strixfleet.speed.measure.host_state import map_at
from strixfleet.speed.measure.llama_bench import BenchRow, BenchUnreadableError, bench_arguments, parse_bench
from strixfleet.speed.measure.recall import planted_wish
from strixfleet.speed.measure.remote_bench import Bench
from strixfleet.speed.measure.served import PROMPTS, Served, served_body, served_from
from strixfleet.speed.measure.server_flags import ServerFlags


BENCH_TIMEOUT_S = 1800
REQUEST_TIMEOUT_S = 600
ALIKE_TOKENS = 8
SERVED_PROMPT_TOKENS = 64
DEVICE = "-dev"
LOAD_MODE = "-lm"  # releases of early 2026 and before do not know it
Rows = tuple[BenchRow, ...]
CpuSpeeds = tuple[tuple[AgainstCpu, ...], str]  # and why there are none


@dataclass(frozen=True, slots=True)
class Server:
    """The unit that serves a target as the host shows it, and what it was told; no flags where none does."""

    target: Target
    unit: Mapping[str, Json]
    flags: ServerFlags | None

    @classmethod
    def of(cls, target: Target, raw: Mapping[str, Json]) -> "Server":
        """Find it in what the host said of itself; what does not run is as the inventory says."""
        if target.instance is None:
            return cls(target, {}, None)
        unit = map_at(raw, "instances", target.instance.name)
        argv, environment = unit.get("argv"), map_at(unit, "environment")
        if isinstance(argv, list) and argv:
            named = {name: str(value) for name, value in environment.items()}
            return cls(target, unit, ServerFlags(tuple(str(word) for word in argv), named))
        return cls(target, unit, ServerFlags.of_instance(target.instance))

    @property
    def name(self) -> str:
        """Name the unit."""
        return unit_name(self.target.instance_name) if self.target.instance else "no unit"

    def served(self, bench: Bench, smoke: SmokeBench) -> tuple[Served | None, str]:
        """Send requests to it; say what keeps them from being a measurement of the target."""
        if self.target.instance is None or self.flags is None:
            return None, ""
        if self.unit.get("state") != "active":
            return None, f"{self.name} is {self.unit.get('state')}"
        served = served_from(bench.served(self._request(self.flags, smoke), REQUEST_TIMEOUT_S))
        paths = self.target.paths
        if served.model_path and served.model_path not in paths:
            return served, f"it serves {served.model_path}, not {paths[0]}; a restart is due"
        return served, ""

    def _request(self, flags: ServerFlags, smoke: SmokeBench) -> dict[str, Json]:
        instance = self.target.instance
        return {
            "url": flags.url,
            "pid": self.unit.get("pid"),
            "key_file": f"{KEYS}/{instance.name}" if instance and instance.api_key else None,
            "body": served_body(SERVED_PROMPT_TOKENS, smoke.generate_tokens),
            "repetitions": smoke.repetitions,
            "repeat_tokens": ALIKE_TOKENS,
            "prompts": [*PROMPTS],
            "planted": planted_wish(flags.micro_batch_tokens, flags.slot_tokens),
            "draft": draft_wish(smoke.generate_tokens) if instance and instance.draft_model else None,
        }


def with_llama_bench(evidence: Evidence, server: Server, bench: Bench, smoke: SmokeBench) -> Evidence:
    """
    Run llama-bench as the server runs.

    A server is told its device by name, and llama-bench ends with an error where that is not there. Left to
    choose, it shows in its device fields what it computes on instead: that is the evidence then.
    """
    options = server.flags.bench_options() if server.flags else []
    path = evidence.target.paths[0]
    rows, problem, others = _llama_bench(server, bench, bench_arguments(path, smoke, options))
    if problem and LOAD_MODE in options:
        options = _without(options, LOAD_MODE)
        rows, _same, others = _llama_bench(server, bench, bench_arguments(path, smoke, options))
        problem = "" if rows else problem
    if problem and DEVICE in options:
        free = bench_arguments(path, smoke, _without(options, DEVICE))
        instead, _same, _others = _llama_bench(server, bench, free)
        if any(evidence.wrong_device(row) for row in instead):
            return replace(evidence, rows=instead)
    return replace(evidence, rows=rows, problem=problem, others_share=others)


def _without(options: list[str], name: str) -> list[str]:
    at = options.index(name)
    return [*options[:at], *options[at + 2 :]]


def cpu_speeds(evidence: Evidence, server: Server, bench: Bench, smoke: SmokeBench) -> CpuSpeeds:
    """Run llama-bench without the GPU, each test once: it takes long there, and only the ratio counts."""
    flags = server.flags or ServerFlags((), {})
    target, once = evidence.target, smoke.model_copy(update={"repetitions": 1})
    arguments = bench_arguments(target.paths[0], once, flags.bench_options(on_cpu=True))
    rows, problem, _others = _llama_bench(server, bench, arguments)
    return against_cpu(target.model, evidence.rows, rows), problem


def _llama_bench(server: Server, bench: Bench, arguments: list[str]) -> tuple[Rows, str, float]:
    """Return rows, or why there are none, and what share of the CPU others took."""
    unit = server.unit
    request: dict[str, Json] = {
        "program": "llama-bench",
        "arguments": [*arguments],
        "pid": unit.get("pid"),
        "cores": unit.get("cores"),
        "nice": unit.get("nice"),
        "environment": {**(server.flags.environment if server.flags else {})},
        "users": ["nobody"],
    }
    done = bench.program(request, BENCH_TIMEOUT_S)
    if done["exit_code"] != 0:
        said = (str(done["stderr"]).strip() or "it said nothing").splitlines()[-1]
        return (), f"llama-bench ended with {done['exit_code']}: {said[:200]}", 0.0
    others = done.get("others_share")
    try:
        rows = parse_bench(str(done["stdout"]))
    except BenchUnreadableError as problem:
        return (), str(problem), 0.0
    return rows, "", float(others) if isinstance(others, int | float) else 0.0
