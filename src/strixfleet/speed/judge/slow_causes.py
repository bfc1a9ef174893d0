"""Why a host is slow: what was read on it that costs speed, the likeliest cause first, each with its cure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from strixfleet.findings.items import Cure, Difference, Status
from strixfleet.findings.verdict import Grade, Verdict
from strixfleet.on_host.questions import Json
from strixfleet.printable import printable
from strixfleet.speed.measure.against_cpu import AgainstCpu
from strixfleet.speed.measure.draft import DraftGain
from strixfleet.speed.measure.host_answer import ServerUnit
from strixfleet.speed.measure.host_conditions import HostConditions
from strixfleet.speed.measure.server_flags import ServerFlags


# Only for ranking. Effects in published llama-bench runs: amd_iommu=off 2 %, tuned 0 % of decode and 5 to 8 %
# of prefill, power limits 1 to 8 %. The other values are estimates from users' reports.
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
_SLOWER_THAN_CPU_WEIGHT = 0.6  # ranks first: it costs more than half of the speed
_WARM_C = 85.0
_MICROSECONDS = 1e6
_SUFFIXES = (("min", 60 * _MICROSECONDS), ("ms", 1e3), ("us", 1.0), ("s", _MICROSECONDS))
_CURES = {
    Cure.PROVISION: "strixfleet provision -l {host}",
    Cure.REBOOT: "strixfleet provision -l {host} --reboot ask",
    Cure.MANUAL: "see the audit: strixfleet audit -l {host}",
}


@dataclass(frozen=True, slots=True)
class SlowCause:
    """One cause; `weight` ranks it by the share of speed that it may cost."""

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
    unit: ServerUnit
    flags: ServerFlags | None
    conditions: HostConditions
    differences: tuple[Difference, ...]


def slow_causes(known: SlowRunContext) -> tuple[SlowCause, ...]:
    """List all causes that were found, the likeliest first."""
    return ranked([*_limits(known), *_threads(known), *_conditions(known), *_drifts(known)])


def ranked(causes: Iterable[SlowCause]) -> tuple[SlowCause, ...]:
    """Sort causes, the likeliest first."""
    return tuple(sorted(causes, key=lambda cause: -cause.weight))


def slower_than_cpu(compared: AgainstCpu, host: str) -> Iterator[SlowCause]:
    """Name a cause if the CPU is faster than the GPU."""
    if compared.ratio < 1:
        evidence = (
            f"{compared.test}: {compared.cpu_tps:.2f} t/s on the CPU, {compared.gpu_tps:.2f} on the GPU"
        )
        cure = f"check driver, GTT, carve-out and clocks: strixfleet audit -l {host}"
        yield SlowCause("the CPU is faster than the GPU", evidence, cure, _SLOWER_THAN_CPU_WEIGHT)


def slower_with_draft(gain: DraftGain, instance: str) -> Iterator[SlowCause]:
    """Name a cause if the draft model costs speed."""
    if gain.gain is not None and gain.gain < 0 and gain.acceptance is not None:
        evidence = f"{gain.tps_with:.2f} t/s with it, {gain.tps_without:.2f} without"
        cure = f"remove `draft_model` from the instance {instance}"
        yield SlowCause("the draft model slows decoding down", evidence, cure, -gain.gain)


def _limits(known: SlowRunContext) -> Iterator[SlowCause]:
    cure = f"find the limit with `systemctl cat {known.unit_name}`, remove it, restart the unit"
    cores, all_cores = len(known.unit.cores), known.conditions.cores
    if 0 < cores < all_cores:
        weight = 1 - cores / all_cores
        yield SlowCause("the unit is limited to some cores", f"{cores} of {all_cores}", cure, weight)
    quota = microseconds(known.unit.quota)
    if quota is not None and all_cores and quota < all_cores * _MICROSECONDS:
        share = quota / (all_cores * _MICROSECONDS)
        text = f"CPUQuota {quota / _MICROSECONDS:.0%} of {all_cores} cores"
        yield SlowCause("the unit's processor time is limited", text, cure, 1 - share)
    if known.unit.nice > 0:
        yield SlowCause("the unit runs at low priority", f"nice {known.unit.nice}", cure, 0.05)


def microseconds(text: str) -> int | None:
    """Read systemd's CPUQuotaPerSecUSec: `500ms`, `1.500000s`; None if there is no limit."""
    for suffix, factor in _SUFFIXES:
        number = text.removesuffix(suffix)
        if number != text and number.replace(".", "", 1).isdigit():
            return round(float(number) * factor)
    return None


def _threads(known: SlowRunContext) -> Iterator[SlowCause]:
    value = known.flags.value("--threads", "-t", "LLAMA_ARG_THREADS") if known.flags else None
    if value and value.isdigit() and 0 < known.physical_cores < int(value):
        text = f"{value} threads, {known.physical_cores} physical cores"
        yield SlowCause(
            "more threads than cores", text, "remove `threads` from the instance's arguments", 0.3
        )


def _conditions(known: SlowRunContext) -> Iterator[SlowCause]:
    hottest_c = known.conditions.hottest_c
    if hottest_c >= _WARM_C:
        text = f"{hottest_c:.0f} °C before the run"
        yield SlowCause("the host is hot", text, "clean the fan, check the air flow", 0.15)
    governors = known.conditions.governors
    if set(governors) & {"powersave", "conservative"}:
        text = f"governor {', '.join(governors)}"
        yield SlowCause("the processor saves power", text, "tuned-adm profile accelerator-performance", 0.05)
    memory = known.flags.value("--load-mode", "LLAMA_ARG_LOAD_MODE") if known.flags else None
    if known.backend == "rocm" and memory in {None, "auto", "mmap"}:
        cure = "set `load-mode: none` in the instance's arguments"
        yield SlowCause("ROCm reads the model through mmap", f"load mode {memory or 'default'}", cure, 0.2)


def _drifts(known: SlowRunContext) -> Iterator[SlowCause]:
    for row in known.differences:
        if row.status not in {Status.DRIFT, Status.PENDING_REBOOT}:
            continue
        weight = weight_of(row.id)
        if weight is not None:
            evidence = printable(row.message) if row.message else row.status.value.replace("_", " ")
            yield SlowCause(row.id, evidence, _CURES[row.cure].format(host=known.host), weight)


def weight_of(item: str) -> float | None:
    """Return the share of speed that an item may cost; None if it has nothing to do with speed."""
    return next((weight for start, weight in _WEIGHTS.items() if item.startswith(start)), None)


def in_words(causes: Iterable[SlowCause], most: int = 3) -> str:
    """Write the first causes out; empty if there are none."""
    named = list(causes)[:most]
    return "; ".join(f"{number}. {cause}" for number, cause in enumerate(named, 1))


def explained(verdicts: Iterable[Verdict], causes: tuple[SlowCause, ...]) -> tuple[Verdict, ...]:
    """Add the causes to slow verdicts."""
    words = f"; why: {in_words(causes)}" if causes else "; nothing that was read on the host explains it"
    return tuple(
        replace(one, reason=f"{one.reason}{words}") if one.grade is Grade.SLOW else one for one in verdicts
    )
