"""Why a host is slow: what was read on it that costs speed, the likeliest first, each with its cure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from strixfleet.findings.items import Cure, Difference, Status
from strixfleet.findings.verdict import Grade, Verdict
from strixfleet.on_host.questions import Json
from strixfleet.printable import printable
from strixfleet.speed.measure.host_state import HostMeasure
from strixfleet.speed.measure.server_flags import ServerFlags


# Only ranks. Published: amd_iommu=off 2 %, tuned 0 % of decode and 5 to 8 % of prefill, power limits 1 to 8 %
# (performance data, section 1.4); the others are ordered by what the field notes report.
_WEIGHTS: Mapping[str, float] = {
    "gpu_stack:": 0.5,  # known-bad kernels and Mesa: a half and more
    "llama_cpp:": 0.4,
    "llama_server:": 0.3,
    "kernel:gtt_total": 0.3,
    "kernel:carve_out": 0.3,
    "kernel:amd_iommu": 0.03,
    "kernel:": 0.1,
    "tuning:": 0.05,
    "bios:": 0.05,  # it sets the power limits
}
_MICROSECONDS = 1e6
_SUFFIXES = (("min", 60 * _MICROSECONDS), ("ms", 1e3), ("us", 1.0), ("s", _MICROSECONDS))
_CURES = {
    Cure.PROVISION: "strixfleet provision -l {host}",
    Cure.REBOOT: "strixfleet provision -l {host} --reboot ask",
    Cure.MANUAL: "see the audit: strixfleet audit -l {host}",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """One cause; `weight` ranks it: the share of speed that it may take."""

    cause: str
    evidence: str
    cure: str
    weight: float

    def to_json(self) -> dict[str, Json]:
        """Return a row for scripts."""
        return {"cause": self.cause, "evidence": self.evidence, "cure": self.cure}

    def __str__(self) -> str:
        """Return `cause (evidence); cure`."""
        return f"{self.cause} ({self.evidence}): {self.cure}"


@dataclass(frozen=True, slots=True)
class SlowRunContext:
    """What is known of a host whose run was slow."""

    host: str
    backend: str
    physical_cores: int
    unit_name: str
    unit: Mapping[str, Json]
    flags: ServerFlags | None
    state: HostMeasure
    differences: tuple[Difference, ...]


def reasons(known: SlowRunContext) -> tuple[Reason, ...]:
    """Rank all causes that were found, the likeliest first."""
    found = [*_limits(known), *_threads(known), *_state(known), *_drifts(known)]
    return tuple(sorted(found, key=lambda reason: -reason.weight))


def _limits(known: SlowRunContext) -> Iterator[Reason]:
    cure = f"find the limit by `systemctl cat {known.unit_name}`, remove it, restart the unit"
    cores, all_cores = known.unit.get("cores"), int(known.state.number("cores"))
    if isinstance(cores, list) and 0 < len(cores) < all_cores:
        weight = 1 - len(cores) / all_cores
        yield Reason("the unit is limited to some cores", f"{len(cores)} of {all_cores}", cure, weight)
    quota = microseconds(str(known.unit.get("quota") or ""))
    if quota is not None and all_cores and quota < all_cores * _MICROSECONDS:
        share = quota / (all_cores * _MICROSECONDS)
        text = f"CPUQuota {quota / _MICROSECONDS:.0%} of {all_cores} cores"
        yield Reason("the unit's processor time is limited", text, cure, 1 - share)
    nice = known.unit.get("nice")
    if isinstance(nice, int) and nice > 0:
        yield Reason("the unit runs at low priority", f"nice {nice}", cure, 0.05)


def microseconds(text: str) -> int | None:
    """Read systemd's CPUQuotaPerSecUSec: `500ms`, `1.500000s`; None where there is no limit."""
    for suffix, factor in _SUFFIXES:
        number = text.removesuffix(suffix)
        if number != text and number.replace(".", "", 1).isdigit():
            return round(float(number) * factor)
    return None


def _threads(known: SlowRunContext) -> Iterator[Reason]:
    value = known.flags.value("--threads", "-t", "LLAMA_ARG_THREADS") if known.flags else None
    if value and value.isdigit() and 0 < known.physical_cores < int(value):
        text = f"{value} threads, {known.physical_cores} physical cores"
        yield Reason("more threads than cores", text, "remove `threads` from the instance's arguments", 0.3)


def _state(known: SlowRunContext) -> Iterator[Reason]:
    hottest = known.state.hottest_c
    if hottest >= _WARM_C:
        yield Reason("it is hot", f"{hottest:.0f} °C before the run", "clean the fan, look at the case", 0.15)
    governors = known.state.texts("governors")
    if governors and set(governors) & {"powersave", "conservative"}:
        text = f"governor {', '.join(governors)}"
        yield Reason("the processor saves power", text, "tuned-adm profile accelerator-performance", 0.05)
    memory = known.flags.value("--load-mode", "LLAMA_ARG_LOAD_MODE") if known.flags else None
    if known.backend == "rocm" and memory in {None, "auto", "mmap"}:
        cure = "set `load-mode: none` in the instance's arguments"
        yield Reason("ROCm reads the model through mmap", f"load mode {memory or 'default'}", cure, 0.2)


_WARM_C = 85.0


def _drifts(known: SlowRunContext) -> Iterator[Reason]:
    for row in known.differences:
        if row.status not in {Status.DRIFT, Status.PENDING_REBOOT}:
            continue
        weight = weight_of(row.id)
        if weight is not None:
            evidence = printable(row.message) if row.message else row.status.value.replace("_", " ")
            yield Reason(row.id, evidence, _CURES[row.cure].format(host=known.host), weight)


def weight_of(item: str) -> float | None:
    """Return what an item is known to cost, to rank it; None where it has nothing to do with speed."""
    return next((weight for start, weight in _WEIGHTS.items() if item.startswith(start)), None)


def in_words(found: Iterable[Reason], most: int = 3) -> str:
    """Write the first reasons out; empty where none was found."""
    named = list(found)[:most]
    return "; ".join(f"{number}. {reason}" for number, reason in enumerate(named, 1))


def explained(verdicts: Iterable[Verdict], why: tuple[Reason, ...]) -> tuple[Verdict, ...]:
    """Add the reasons to slow verdicts."""
    words = f"; why: {in_words(why)}" if why else "; nothing that was read on the host explains it"
    return tuple(
        replace(one, reason=f"{one.reason}{words}") if one.grade is Grade.SLOW else one for one in verdicts
    )
