"""Run the gate on one host: units, build, correctness, device, and speed against the previous build."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from strixfleet.errors import FleetError
from strixfleet.findings.items import Difference, Status
from strixfleet.fleet.session import ProbedHost, look
from strixfleet.hosts.remote import Remote
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.managed.llama_server.server_command import listening
from strixfleet.managed.llama_server.server_unit import KEYS
from strixfleet.managed.platforms.backends import backend_of
from strixfleet.on_host.questions import Json
from strixfleet.rollout.gate_bench import GateBench, OtherBuild, measures_all
from strixfleet.rollout.gate_watch import Watch, problems
from strixfleet.rollout.judge_gate import (
    NOISE,
    Check,
    Measured,
    Result,
    checks_of,
    doubtful,
    output_check,
    overall,
    slower,
    speed_checks,
    speeds_of,
)
from strixfleet.speed.measure.measure_server import ALIKE_TOKENS, SERVED_PROMPT_TOKENS
from strixfleet.speed.measure.remote_bench import Bench
from strixfleet.speed.measure.served import served_body


CPU_NOISE = 0.30  # other work moves the speed of a CPU by that much
ALIVE = ("active", "build", "health")
FIRST_TOKENS_S = 90  # 64 tokens in, 16 out: a server that needs longer does not serve
BUILD_AND_SERVERS = ("llama_cpp:current", "llama_cpp:files", "llama_server:")


@dataclass(frozen=True, slots=True)
class Before:
    """What the previous build answered and how fast it was; empty on a host without one."""

    build: str | None = None
    speeds: dict[str, float] = field(default_factory=dict)
    outputs: dict[str, list[Json]] = field(default_factory=dict)
    drift: frozenset[str] = frozenset()


def first_tokens(host: Host, bench: Bench) -> dict[str, list[Json]]:
    """Return the first tokens of each server for one greedy prompt; leave out a server without any."""
    found: dict[str, list[Json]] = {}
    for one in host.settings.llama_server_instances:
        request: dict[str, Json] = {
            "url": listening(one).url,
            "pid": 0,
            "key_file": f"{KEYS}/{one.name}" if one.api_key else None,
            "body": served_body(SERVED_PROMPT_TOKENS, ALIKE_TOKENS),
            "repetitions": 0,
            "repeat_tokens": ALIKE_TOKENS,
        }
        served = bench.served(request, FIRST_TOKENS_S)
        if served.outputs and served.outputs[0].pieces:
            found[one.name] = [*served.outputs[0].pieces]
    return found


def measure_before(host: Host, seen: ProbedHost, bench: Bench, *, fresh: bool) -> Before:
    """Measure the current build; unless `fresh`, its last good run on this host is enough."""
    build = seen.current_build
    if build is None:
        return Before(drift=drift_before(seen))
    outputs = first_tokens(host, bench)
    measured = GateBench(host, seen, bench)
    speeds = {} if fresh else measured.remembered(build)
    if not speeds:
        speeds = speeds_of(measured.measure(everything=measures_all(host)).verdicts)
    return Before(build, speeds, outputs, drift_before(seen))


def wrong_by_now(row: Difference, before: frozenset[str]) -> str:
    """
    Return how an item differs from what is desired; empty where it does not, or already did before.

    A server that differed before, for example in an option that waits for `provision`, still has to run the
    new build.
    """
    if row.status not in {Status.DRIFT, Status.UNKNOWN}:
        return ""
    have, want = row.have, row.want
    if not isinstance(have, dict) or not isinstance(want, dict):
        return "" if row.id in before else f"{row.id} is {have}, not {want} {row.message}".strip()
    looked = ALIVE if row.id in before else tuple(want)
    wrong = [key for key in looked if have.get(key) != want.get(key)]
    shown = ", ".join(f"{key} is {have.get(key)}, not {want.get(key)}" for key in wrong)
    return f"{row.id} {shown} {row.message}".strip() if wrong else ""


def drift_before(seen: ProbedHost) -> frozenset[str]:
    """Return the items that differed before the upgrade, except for the build, which the upgrade changes."""
    rows = (row.id for row in seen.differences if row.status in {Status.DRIFT, Status.UNKNOWN})
    return frozenset(rows) - {"llama_cpp:current", "llama_cpp:files"}


def recall_before(host: Host, seen: ProbedHost, remote: Remote, build: str) -> Before:
    """Return what can still be known of the previous build while another one is on trial."""
    measured = GateBench(host, seen, Bench(host, remote))
    speeds = measured.remembered(build)
    if not speeds:
        other = OtherBuild(host, remote, build)
        speeds = measured.bench_of(other)
    return Before(build, speeds, {}, drift_before(seen))


class Gate:
    """The gate of one host; its checks run from cheap to expensive."""

    def __init__(self, host: Host, known_hosts: str, remote: Remote, before: Before, soak_s: float) -> None:
        self.host = host
        self.known_hosts = known_hosts
        self.remote = remote
        self.before = before
        self.soak_s = soak_s
        self.watch = Watch(host, known_hosts)
        self.bench = Bench(host, remote)

    @property
    def tolerance(self) -> float:
        """Return the share of speed that a new build may lose as noise."""
        noise = NOISE if backend_of(self.host.settings.llama_cpp_backend).graphics else CPU_NOISE
        return self.host.settings.smoke_bench.tolerance or noise

    def run(self) -> tuple[Result, str, tuple[Check, ...]]:
        """Run the checks in order, up to the first that fails; return the result, why, and all checks."""
        checks: list[Check] = []
        rows = self.watch.settle(self.remote)
        steps: tuple[Callable[[], list[Check]], ...] = (
            lambda: self._up("up", rows),
            self._as_pinned,
            self._outputs,
            self._speed,
            lambda: self._stays(rows),
        )
        for look_at in steps:
            checks += look_at()
            if overall(checks)[0] is Result.FAILED:
                break
        result, reason = overall(checks)
        return result, reason, tuple(checks)

    def _up(self, name: str, rows: dict[str, Any]) -> list[Check]:
        problem = problems(rows)
        return [Check(name, Result.FAILED if problem else Result.PASSED, problem or f"{len(rows)} healthy")]

    def _as_pinned(self) -> list[Check]:
        """Compare units, build and /props with the desired state."""
        seen = look(self.host, self.remote)
        wrong = [
            text
            for row in seen.differences
            if row.id.startswith(BUILD_AND_SERVERS) and (text := wrong_by_now(row, self.before.drift))
        ]
        self._seen = seen
        return [Check("build", Result.FAILED if wrong else Result.PASSED, "; ".join(wrong) or "as pinned")]

    def _outputs(self) -> list[Check]:
        new = first_tokens(self.host, self.bench)
        return [output_check(name, old, new.get(name, [])) for name, old in self.before.outputs.items()]

    def _speed(self) -> list[Check]:
        """Measure the new build; where it looks slow, measure the previous one again."""
        measured = GateBench(self.host, self._seen, self.bench)
        report = measured.measure(everything=measures_all(self.host))
        old, new = self.before.speeds, speeds_of(report.verdicts)
        again = None
        if self.before.build and slower(old, new, self.tolerance):
            again = self._again(measured, self.before.build)
        speeds = Measured(old, new, again, doubtful(report.verdicts))
        return [*checks_of(report.verdicts, old), *speed_checks(speeds, self.tolerance)]

    def _again(self, measured: GateBench, build: str) -> dict[str, float] | None:
        """Measure the previous build again, without a switch: its llama-bench runs beside the new server."""
        try:
            return measured.bench_of(OtherBuild(self.host, self.remote, build))
        except FleetError:
            return None

    def _stays(self, rows: dict[str, Any]) -> list[Check]:
        """Check that the servers stay up for a while: some builds crash after a minute."""
        return self._up("stays up", self.watch.stay(self.remote, rows, self.soak_s))
