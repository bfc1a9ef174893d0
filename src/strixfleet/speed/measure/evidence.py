"""What is measured on a host, and the evidence from measuring it."""

from dataclasses import dataclass, field

from strixfleet.errors import UsageError
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.inventory.schema.parts import Instance
from strixfleet.managed.llama_models.model_store import stored_files
from strixfleet.managed.llama_server.server_files import GENERATES, probe_of
from strixfleet.managed.machine import Machine
from strixfleet.speed.measure.against_cpu import AgainstCpu
from strixfleet.speed.measure.draft import DraftGain
from strixfleet.speed.measure.host_conditions import UNKNOWN_MEMORY, HostConditions, MemoryNow, busy_remark
from strixfleet.speed.measure.llama_bench import BenchRow, test_name, wrong_device
from strixfleet.speed.measure.served import Served


SERVED = "served "


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

    @property
    def file_name(self) -> str:
        """Name the model's first file, without its folder."""
        return self.paths[0].rpartition("/")[2]


def targets_of(host: Host, *, everything: bool = False) -> tuple[Target, ...]:
    """
    Choose what is measured: `smoke_bench.model`, or the first instance's model, or all instances'.

    A server that embeds or ranks generates no text: it has no decode speed, and nothing of it is measured.
    """
    settings = host.settings
    models = {model.name: tuple(file.path for file in stored_files(model)) for model in settings.llama_models}
    generating = (one for one in settings.llama_server_instances if probe_of(one) == GENERATES)
    found = [Target(one.model, models[one.model], one) for one in generating]
    if everything:
        return tuple(found)
    wanted = settings.smoke_bench.model
    if wanted is None:
        return tuple(found[:1])
    serving = next((target for target in found if target.model == wanted), None)
    if serving is None and wanted not in models:
        raise UsageError(f"smoke_bench.model {wanted!r} is not in llama_models", where=host.name)
    return (serving or Target(wanted, models[wanted], None),)


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    Everything that was observed while one target was measured.

    `problem` says why llama-bench gave no result, `server_problem` why the server could not be measured.
    """

    target: Target
    backend: str
    amd: bool
    conditions: HostConditions
    rows: tuple[BenchRow, ...] = ()
    problem: str = ""
    served: Served | None = None
    server_problem: str = ""
    others_share: float = 0.0
    memory: MemoryNow = UNKNOWN_MEMORY
    changed_output: str = ""
    machine: Machine = field(default_factory=Machine)
    against_cpu: tuple[AgainstCpu, ...] = ()

    @property
    def simulated(self) -> bool:
        """Tell whether the GPU is only presented."""
        return self.machine.simulated is not None

    def draft_gain(self, generate_tokens: int) -> DraftGain | None:
        """Compare decode with the draft model and without it; None if the instance has none."""
        plain = test_name(0, generate_tokens, 0)
        bench = next((row.measured_tps for row in self.rows if row.test == plain), None)
        return self.served.draft.gain(bench) if self.served else None

    def wrong_device(self, row: BenchRow) -> str:
        """Return the evidence that the wrong device computed; empty if the right one did."""
        return wrong_device(row, self.backend, amd=self.amd, software=self.simulated)

    def disturbed(self, test: str) -> str:
        """Describe the other work that may have slowed a test down; empty if there was none."""
        if self.backend != "cpu" and not self.simulated:
            return self.memory.remark
        served_share = self.served.others_share if self.served else 0.0
        during = served_share if test.startswith(SERVED) else self.others_share
        return busy_remark(self.conditions.cpu_busy_share, during) or self.memory.remark
