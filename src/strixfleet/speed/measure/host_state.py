"""Whether a host is in a state to be measured: a wrong one makes a run invalid, not slow."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from strixfleet.on_host.questions import Json
from strixfleet.printable import printable


HOT_C = 95.0  # AMD gives 100 as the most that the chip bears; a run that starts here measures the cooler
BUSY_SHARE = 0.25
SLOW_MEMORY = 0.85
DISTURBED_SHARE = 0.10  # threads that wait for each other lose far more than the share
_OWN_SCALING = frozenset(
    {"amd-pstate-epp", "intel_pstate"}
)  # "powersave" means "as the preference says" there


def map_at(raw: Mapping[str, Json], *keys: str) -> dict[str, Json]:
    """Return a map inside a host's answer; {} where there is none."""
    found: Json = dict(raw)
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class HostMeasure:
    """State of the host before a run, as the script read it."""

    raw: Mapping[str, Json]

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of words."""
        value = self.raw.get(key)
        return tuple(printable(str(one)) for one in value) if isinstance(value, list) else ()

    def number(self, key: str) -> float:
        """Return a number, 0 where there is none."""
        value = self.raw.get(key)
        return float(value) if isinstance(value, int | float) else 0.0

    @property
    def hottest_c(self) -> float:
        """Return the highest temperature of CPU and GPU, 0 where none is known."""
        value = self.raw.get("temperatures_c")
        rows = value.values() if isinstance(value, dict) else ()
        return max((float(row) for row in rows if isinstance(row, int | float)), default=0.0)

    @property
    def busy_share(self) -> float:
        """Return what share of the CPU was busy before the run."""
        return self.number("cpu_busy_share")

    def memory_bytes(self, key: str) -> int:
        """Return one row of the memory table."""
        value = self.raw.get("memory")
        row = value.get(key) if isinstance(value, dict) else None
        return row if isinstance(row, int) else 0


def wrong_state(measure: HostMeasure) -> tuple[str, ...]:
    """List what makes a measurement worthless, each with its cure."""
    return tuple(_wrong(measure))


def _wrong(measure: HostMeasure) -> Iterator[str]:
    if measure.raw.get("on_mains") is False:
        yield "the machine runs on battery; connect it to mains"
    profile = measure.raw.get("platform_profile")
    if profile in {"low-power", "quiet", "cool"}:
        yield f"the platform profile is {profile}; `echo performance > /sys/firmware/acpi/platform_profile`"
    if "powersave" in measure.texts("governors") and not _OWN_SCALING & set(measure.texts("drivers")):
        yield "the CPU governor is powersave; `tuned-adm profile accelerator-performance`"
    if "power" in measure.texts("preferences"):
        yield "the CPU's energy preference is power; `tuned-adm profile accelerator-performance`"
    if "low" in measure.texts("gpu_levels"):
        yield "the GPU is forced to its lowest clock (power_dpm_force_performance_level low)"
    if measure.hottest_c >= HOT_C:
        yield f"it is {measure.hottest_c:.0f} °C hot before the run; let it cool, look at the fan"
    users = measure.raw.get("gpu_users")
    for user in users if isinstance(users, list) else ():
        if isinstance(user, dict):
            yield f"process {user.get('pid')} ({printable(str(user.get('name')))}) uses the GPU"


def busy_remark(before: float, during: float) -> str:
    """Return what explains a slow run on the CPU: the shares that others took of it; empty where none did."""
    if during > DISTURBED_SHARE:
        return f"other work took {during:.0%} of the CPU during the run"
    return f"other work kept {before:.0%} of the CPU busy before the run" if before > BUSY_SHARE else ""


@dataclass(frozen=True, slots=True)
class MemoryNow:
    """How fast memory reads now and how fast this host once read it, in GB/s; 0 where it is not known."""

    now_gb_s: float = 0.0
    kept_gb_s: float = 0.0

    @property
    def remark(self) -> str:
        """Say that others use the memory bus; empty where it is as fast as it was."""
        if not 0 < self.now_gb_s < SLOW_MEMORY * self.kept_gb_s:
            return ""
        now, kept = f"{self.now_gb_s:.1f}", f"{self.kept_gb_s:.1f}"
        return f"memory reads at {now} GB/s now and at {kept} when others leave it alone"

    @property
    def share(self) -> float:
        """Return what share of the speed others leave: the least that decoding must reach beside them."""
        return self.now_gb_s / self.kept_gb_s if self.remark else 1.0


UNKNOWN_MEMORY = MemoryNow()
