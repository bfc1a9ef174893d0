"""Measure one model through its server, and through llama-bench run as the server runs."""

from dataclasses import dataclass, replace

from strixfleet.inventory.schema.parts import Instance, SmokeBench
from strixfleet.managed.llama_server.server_command import listening
from strixfleet.managed.llama_server.server_unit import KEYS, unit_name
from strixfleet.on_host.questions import Json
from strixfleet.speed.measure.against_cpu import AgainstCpu, against_cpu
from strixfleet.speed.measure.confined_request import confined_like
from strixfleet.speed.measure.draft import draft_request
from strixfleet.speed.measure.evidence import Evidence, Target
from strixfleet.speed.measure.host_answer import HostAnswer, ServerUnit
from strixfleet.speed.measure.llama_bench import BenchRow, BenchUnreadableError, bench_arguments, parse_bench
from strixfleet.speed.measure.recall import recall_request
from strixfleet.speed.measure.remote_bench import Bench
from strixfleet.speed.measure.served import PROMPTS, Served, served_body
from strixfleet.speed.measure.server_flags import ServerFlags
from strixfleet.speed.measure.together import together_request


BENCH_TIMEOUT_S = 1800
REQUEST_TIMEOUT_S = 600
ALIKE_TOKENS = 8
SERVED_PROMPT_TOKENS = 64
DEVICE = "-dev"
LOAD_MODE = "-lm"  # unknown to releases up to early 2026
Rows = tuple[BenchRow, ...]
CpuSpeeds = tuple[tuple[AgainstCpu, ...], str]  # and why there are none


@dataclass(frozen=True, slots=True)
class Server:
    """The unit that serves a target, and its options; no flags if no instance serves it."""

    target: Target
    unit: ServerUnit
    flags: ServerFlags | None

    @classmethod
    def of(cls, target: Target, answer: HostAnswer) -> "Server":
        """Find the unit in the host's answer; one that does not run has the options of the inventory."""
        if target.instance is None:
            return cls(target, ServerUnit(), None)
        unit = answer.server(target.instance.name)
        if unit.argv:
            return cls(target, unit, ServerFlags(unit.argv, unit.environment))
        return cls(target, unit, ServerFlags.of_instance(target.instance))

    @property
    def name(self) -> str:
        """Name the unit."""
        return unit_name(self.target.instance_name) if self.target.instance else "no unit"

    def served(self, bench: Bench, smoke: SmokeBench) -> tuple[Served | None, str]:
        """Send requests to it; say why they do not measure the target, if so."""
        instance = self.target.instance
        if instance is None or self.flags is None:
            return None, ""
        if self.unit.state != "active":
            return None, f"{self.name} is {self.unit.state}"
        served = bench.served(self._request(instance, self.flags, smoke), REQUEST_TIMEOUT_S)
        paths = self.target.paths
        if served.model_path and served.model_path not in paths:
            return served, f"it serves {served.model_path}, not {paths[0]}; restart it"
        return served, ""

    def _request(self, instance: Instance, flags: ServerFlags, smoke: SmokeBench) -> dict[str, Json]:
        """Return the request; its address is the inventory's: the key must not go where a process points."""
        return {
            "url": listening(instance).url,
            "pid": self.unit.pid,
            "key_file": f"{KEYS}/{instance.name}" if instance.api_key else None,
            "body": served_body(SERVED_PROMPT_TOKENS, smoke.generate_tokens),
            "repetitions": smoke.repetitions,
            "repeat_tokens": ALIKE_TOKENS,
            "prompts": [*PROMPTS],
            "planted": recall_request(flags.micro_batch_tokens, flags.slot_tokens),
            "together": together_request(flags.micro_batch_tokens, flags.slot_tokens),
            "draft": draft_request(smoke.generate_tokens) if instance.draft_model else None,
        }


def with_llama_bench(evidence: Evidence, server: Server, bench: Bench, smoke: SmokeBench) -> Evidence:
    """
    Run llama-bench as the server runs.

    The options name the server's device, and llama-bench fails if that device does not exist. Without the
    option it chooses one itself and reports which: that is the evidence of a wrong device.
    """
    options = server.flags.bench_options() if server.flags else []
    path = evidence.target.paths[0]
    rows, problem, others = _llama_bench(evidence, server, bench, bench_arguments(path, smoke, options))
    if problem and LOAD_MODE in options:
        options = _without(options, LOAD_MODE)
        rows, _same, others = _llama_bench(evidence, server, bench, bench_arguments(path, smoke, options))
        problem = "" if rows else problem
    if problem and DEVICE in options:
        free = bench_arguments(path, smoke, _without(options, DEVICE))
        instead, _same, _others = _llama_bench(evidence, server, bench, free)
        if any(evidence.wrong_device(row) for row in instead):
            return replace(evidence, rows=instead)
    return replace(evidence, rows=rows, problem=problem, others_share=others)


def _without(options: list[str], name: str) -> list[str]:
    at = options.index(name)
    return [*options[:at], *options[at + 2 :]]


def cpu_speeds(evidence: Evidence, server: Server, bench: Bench, smoke: SmokeBench) -> CpuSpeeds:
    """Run llama-bench without the GPU, each test once, because that is slow and only the ratio counts."""
    flags = server.flags or ServerFlags((), {})
    target, once = evidence.target, smoke.model_copy(update={"repetitions": 1})
    arguments = bench_arguments(target.paths[0], once, flags.bench_options(on_cpu=True))
    rows, problem, _others = _llama_bench(evidence, server, bench, arguments)
    return against_cpu(target.model, evidence.rows, rows), problem


def _llama_bench(
    evidence: Evidence, server: Server, bench: Bench, arguments: list[str]
) -> tuple[Rows, str, float]:
    """Return the results, or why there are none, and the share of the CPU that other work took."""
    target = evidence.target
    request: dict[str, Json] = {
        "program": "llama-bench",
        "arguments": [*arguments],
        "cores": [*server.unit.cores],
        "nice": server.unit.nice,
        **confined_like(target.instance, evidence.backend, machine=evidence.machine, files=target.paths),
    }
    done = bench.program(request, BENCH_TIMEOUT_S)
    if done.exit_code != 0:
        said = (done.stderr.strip() or "it printed no error").splitlines()[-1]
        return (), f"llama-bench ended with {done.exit_code}: {said[:200]}", 0.0
    try:
        return parse_bench(done.stdout), "", done.others_share
    except BenchUnreadableError as problem:
        return (), str(problem), 0.0
