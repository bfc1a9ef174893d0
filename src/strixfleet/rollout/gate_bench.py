"""Measurements that only a gate needs: the previous build beside the new one, and its last good speeds."""

from collections.abc import Mapping

from strixfleet.findings.last_good import Subject
from strixfleet.hosts.remote import Remote
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.on_host.questions import Json
from strixfleet.speed.host_bench import HostBench
from strixfleet.speed.measure.evidence import SERVED, Evidence, targets_of
from strixfleet.speed.measure.measure_server import Server, with_llama_bench
from strixfleet.speed.measure.remote_bench import Bench, ProgramRun


class OtherBuild(Bench):
    """Measurements with the programs of a build that is not the current one."""

    def __init__(self, host: Host, remote: Remote, build: str) -> None:
        super().__init__(host, remote)
        self.build = build

    def program(self, request: Mapping[str, Json], timeout_s: int) -> ProgramRun:
        """Run a program of that build; the path is relative to the bin folder of the current build."""
        other = f"../../{self.build}/bin/{request['program']}"
        return super().program({**request, "program": other}, timeout_s)


def measures_all(host: Host) -> bool:
    """Tell whether a gate measures every instance: a defect may show with one model alone."""
    return host.settings.smoke_bench.model is None


class GateBench(HostBench):
    """The measurement of one host, for its gate."""

    def remembered(self, build: str) -> dict[str, float]:
        """Return a build's last good speeds on this host, by instance and test; empty unless complete."""
        found: dict[str, float] = {}
        targets = targets_of(self.host, everything=measures_all(self.host))
        self.answer = self.bench.look([], [path for target in targets for path in target.paths], 0.0)
        last_good = self.answer.last_good
        for target in targets:
            subject = Subject(build, target.file_name, self.answer.size_bytes(target.paths))
            for test in last_good.tests(subject):
                if speed := last_good.speed_tps(subject, test):
                    found[f"{target.instance_name} {test}".strip()] = speed
        names = [f"pp{self.smoke.prompt_tokens}", f"tg{self.smoke.generate_tokens}"]
        names.append(f"{SERVED}tg{self.smoke.generate_tokens}")
        wanted = {f"{target.instance_name} {name}".strip() for target in targets for name in names}
        return found if wanted <= found.keys() else {}

    def bench_of(self, other: OtherBuild) -> dict[str, float]:
        """Run another build's llama-bench beside the running server; speeds by instance and test."""
        targets = targets_of(self.host, everything=measures_all(self.host))
        self._look(targets)
        self.bench = other
        found: dict[str, float] = {}
        for target in targets:
            evidence = Evidence(
                target,
                self.backend,
                amd=False,
                conditions=self.answer.conditions,
                machine=self.probed.state.machine,
            )
            evidence = with_llama_bench(evidence, Server.of(target, self.answer), self.bench, self.smoke)
            for row in evidence.rows:
                found[f"{target.instance_name} {row.test}".strip()] = row.measured_tps
        return found
