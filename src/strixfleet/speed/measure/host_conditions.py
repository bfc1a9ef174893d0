"""Whether a host is in a condition to be measured: a wrong one makes a run invalid, not slow."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated

from strixfleet.on_host.questions import Json
from strixfleet.speed.measure.answer_types import Count, Figure, OrDefault, Shown


HOT_C = 95.0  # AMD allows at most 100; a run that starts this hot measures the cooler
BUSY_SHARE = 0.25
SLOW_MEMORY = 0.85
DISTURBED_SHARE = 0.10  # threads that wait for each other lose far more than this share
# With these drivers the governor `powersave` means "follow the energy preference".
_SCALED_BY_PREFERENCE = frozenset({"amd-pstate-epp", "intel_pstate"})


@dataclass(frozen=True, slots=True)
class GpuUser:
    """A process that keeps the GPU busy, and the share of time for which it does."""

    pid: int
    name: Shown
    share: Figure = 0.0


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Memory that is available, and the totals and use of the GPU's two pools; all in bytes."""

    available_bytes: Count = 0
    gtt_total: Count = 0
    gtt_used: Count = 0
    vram_total: Count = 0
    vram_used: Count = 0


@dataclass(frozen=True, slots=True)
class HostConditions:
    """Power, clocks, heat and other work on a host just before a run."""

    governors: tuple[Shown, ...] = ()
    drivers: tuple[Shown, ...] = ()
    preferences: tuple[Shown, ...] = ()
    platform_profile: str | None = None
    gpu_levels: tuple[Shown, ...] = ()
    gpu_clocks: tuple[str, ...] = ()
    temperatures_c: Mapping[str, float] = field(default_factory=dict)
    on_mains: bool | None = None
    cpu_busy_share: Figure = 0.0
    gpu_users: tuple[GpuUser, ...] = ()
    memory: Annotated[MemoryUse, OrDefault] = field(default_factory=MemoryUse)
    cores: Count = 0

    @property
    def hottest_c(self) -> float:
        """Return the highest temperature of CPU and GPU; 0 if none is known."""
        return max(self.temperatures_c.values(), default=0.0)

    def to_json(self) -> dict[str, Json]:
        """Return the `state` of the host's entry in the JSON of `bench`."""
        lists: dict[str, Json] = {
            "governors": [*self.governors],
            "drivers": [*self.drivers],
            "preferences": [*self.preferences],
            "gpu_levels": [*self.gpu_levels],
            "gpu_clocks": [*self.gpu_clocks],
        }
        return {
            **lists,
            "platform_profile": self.platform_profile,
            "temperatures_c": dict(self.temperatures_c),
            "on_mains": self.on_mains,
            "cpu_busy_share": self.cpu_busy_share,
            "gpu_users": [asdict(user) for user in self.gpu_users],
            "memory": asdict(self.memory),
            "cores": self.cores,
        }


def problems_of(conditions: HostConditions) -> tuple[str, ...]:
    """List the conditions that make a measurement worthless, each with its cure."""
    return tuple(_problems(conditions))


def _problems(conditions: HostConditions) -> Iterator[str]:
    if conditions.on_mains is False:
        yield "the machine runs on battery; connect it to mains"
    profile = conditions.platform_profile
    if profile in {"low-power", "quiet", "cool"}:
        yield f"the platform profile is {profile}; `echo performance > /sys/firmware/acpi/platform_profile`"
    if "powersave" in conditions.governors and not _SCALED_BY_PREFERENCE & set(conditions.drivers):
        yield "the CPU governor is powersave; `tuned-adm profile accelerator-performance`"
    if "power" in conditions.preferences:
        yield "the CPU's energy preference is power; `tuned-adm profile accelerator-performance`"
    if "low" in conditions.gpu_levels:
        yield "the GPU is forced to its lowest clock (power_dpm_force_performance_level is low)"
    if conditions.hottest_c >= HOT_C:
        yield f"the host is at {conditions.hottest_c:.0f} °C before the run; let it cool, check the fan"
    for user in conditions.gpu_users:
        yield f"process {user.pid} ({user.name}) uses the GPU"


def busy_remark(before: float, during: float) -> str:
    """Describe the CPU share that other work took before and during a run; empty if it was small."""
    if during > DISTURBED_SHARE:
        return f"other work took {during:.0%} of the CPU during the run"
    return f"other work kept {before:.0%} of the CPU busy before the run" if before > BUSY_SHARE else ""


@dataclass(frozen=True, slots=True)
class MemoryNow:
    """How fast memory reads now, and the best speed recorded for this host; 0 if not known."""

    now_gb_s: float = 0.0
    best_gb_s: float = 0.0

    @property
    def remark(self) -> str:
        """Say that other work uses the memory bus; empty if memory is as fast as recorded."""
        if not 0 < self.now_gb_s < SLOW_MEMORY * self.best_gb_s:
            return ""
        return f"memory reads at {self.now_gb_s:.1f} GB/s now and at {self.best_gb_s:.1f} on a quiet host"

    @property
    def share(self) -> float:
        """Return the share of memory speed that other work leaves for decoding."""
        return self.now_gb_s / self.best_gb_s if self.remark else 1.0


UNKNOWN_MEMORY = MemoryNow()
