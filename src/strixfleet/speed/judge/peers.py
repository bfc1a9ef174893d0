"""Why a host is slow beside its siblings: what faster hosts of its profile have otherwise, in one run."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from strixfleet.findings.items import Difference, Status, version_key
from strixfleet.findings.last_good import CLEARLY_FASTER
from strixfleet.findings.results import HostReport
from strixfleet.findings.verdict import Grade, Verdict
from strixfleet.managed.compiled import DesiredState
from strixfleet.managed.llama_models.model_store import catalogue
from strixfleet.on_host.questions import Answers, Json
from strixfleet.printable import printable
from strixfleet.speed.judge.comparable_facts import ABSENT, options_of, traits_of
from strixfleet.speed.judge.slow_causes import Reason, in_words, weight_of


# By the start of an id; absent on one host means something for arguments and options only.
_PROVISION = "strixfleet provision -l {host}"
_CURES: Mapping[str, str] = {
    "gpu_stack:kernel": "boot kernel {value} on {host}; `gpu_stack_kernel_floor: {number}` if newer",
    "gpu_stack:mes_firmware": "install the GPU firmware of {sibling} on {host}, then reboot it",
    "gpu_stack:": "on {host}: apt install {name}={value}",
    "kernel:gtt_total": f"give {{host}} the kernel_gtt_gib of {{sibling}}, then {_PROVISION} --reboot ask",
    "kernel:carve_out": "set the UMA frame buffer in the BIOS of {host} as in that of {sibling}",
    "kernel:": f"set `{{name}}: {{setting}}` in kernel_arguments, then {_PROVISION} --reboot ask",
    "llama_cpp:": "set the llama_cpp_ref and options of {sibling}, then strixfleet upgrade -l {host}",
    "llama_server:": f"set `{{name}}` of the instance as on {{sibling}}, then {_PROVISION}",
    "tuning:": f"give {{host}} the tuning of {{sibling}}, then {_PROVISION}",
    "bios:": "install BIOS {value}",
}
_OPTIONAL = ("kernel:", "llama_server:")
_MEASURED = ("kernel:gtt_total", "kernel:carve_out")


@dataclass(frozen=True, slots=True)
class Sibling:
    """One host as it was read and measured; `options` by instance, `models` are digests by name."""

    name: str
    profile: str | None
    traits: Mapping[str, str]
    options: Mapping[str, Mapping[str, str]]
    models: Mapping[str, tuple[str, ...]]
    named: frozenset[str]
    verdicts: tuple[Verdict, ...]

    @classmethod
    def of(
        cls, state: DesiredState, answers: Answers, rows: tuple[Difference, ...], report: HostReport
    ) -> "Sibling":
        """Take a host as it was probed and measured; `named` are differences that it is told of anyway."""
        settings = state.host.settings
        files = catalogue(settings.llama_models).items()
        return cls(
            state.host.name,
            state.profile.name if state.profile else None,
            traits_of(state, answers, rows),
            {one.name: options_of(state, one) for one in settings.llama_server_instances},
            {name: tuple(file.sha256 for file in parts) for name, parts in files},
            frozenset(row.id for row in rows if row.status in {Status.DRIFT, Status.PENDING_REBOOT}),
            report.verdicts,
        )

    def all_of(self, instance: str) -> dict[str, str]:
        """Return what bears on the speed of one instance."""
        return {**self.traits, **self.options.get(instance, {})}

    def faster(self, verdict: Verdict, other: "Sibling") -> Verdict | None:
        """Return another host's good verdict on the same file and test, where it is clearly faster."""
        files = self.models.get(verdict.model)
        if self.profile is None or self.profile != other.profile or not files or not verdict.measured_tps:
            return None
        least = verdict.measured_tps * CLEARLY_FASTER
        for one in other.verdicts:
            same = one.test == verdict.test and other.models.get(one.model) == files
            if same and one.grade is Grade.OK and one.measured_tps and one.measured_tps > least:
                return one
        return None


@dataclass(frozen=True, slots=True)
class Beside:
    """A faster sibling, its speed, and what of it differs, ranked."""

    name: str
    tps: float
    reasons: tuple[Reason, ...]

    def __str__(self) -> str:
        """Return the difference in words, or that there is none."""
        if self.reasons:
            return f"beside {self.name}: {in_words(self.reasons)}"
        return f"{self.name} reaches {self.tps:.2f} t/s, and nothing that was read differs"


def beside(mine: Sibling, verdict: Verdict, others: Sequence[Sibling]) -> Beside | None:
    """
    Hold a slow host against its fastest sibling.

    What another faster sibling has like the slow host is not to blame, and is left out.
    """
    found = [(one, other) for other in others if (one := mine.faster(verdict, other))]
    ranked = sorted(found, key=lambda pair: -(pair[0].measured_tps or 0.0))
    if not ranked:
        return None
    own = mine.all_of(verdict.instance)
    rest = [other.all_of(one.instance) for one, other in ranked[1:]]
    best, sibling = ranked[0]
    tps = best.measured_tps or 0.0
    reasons = [
        _reason(item, (own.get(item, ABSENT), theirs), (mine.name, sibling.name), tps)
        for item, theirs in _differing(own, sibling.all_of(best.instance))
        if item not in mine.named and all(one.get(item, ABSENT) != own.get(item, ABSENT) for one in rest)
    ]
    return Beside(sibling.name, tps, tuple(sorted(reasons, key=lambda reason: -reason.weight)))


def _differing(own: Mapping[str, str], theirs: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Return what differs, with the other's value; what was read on one host only tells nothing."""
    for item in sorted({*own, *theirs}):
        optional = item.startswith(_OPTIONAL) and item not in _MEASURED
        if own.get(item) != theirs.get(item) and (optional or (item in own and item in theirs)):
            yield item, theirs.get(item, ABSENT)


def _reason(item: str, values: tuple[str, str], hosts: tuple[str, str], tps: float) -> Reason:
    """Name one difference; values and hosts are this one's and the sibling's."""
    have, value = (printable(one) for one in values)
    host, sibling = hosts
    words = {
        "host": host,
        "sibling": sibling,
        "name": shlex.quote(item.partition(":")[2]),
        "value": shlex.quote(value),  # a cure is made to be pasted, and this is another host's word
        "number": ".".join(str(part) for part in version_key(value)),
        "setting": {ABSENT: "absent", "set": "null"}.get(value, shlex.quote(value)),
    }
    cure = next(text for start, text in _CURES.items() if item.startswith(start)).format(**words)
    evidence = f"{sibling} has {value}, this host has {have}; {sibling} reaches {tps:.2f} t/s"
    return Reason(item, evidence, cure, weight_of(item) or 0.0)


def explained_beside(mine: Sibling, report: HostReport, others: Sequence[Sibling]) -> HostReport:
    """Add to a host's slow verdicts what its faster siblings have otherwise."""
    rows: list[Json] = []
    verdicts = []
    for verdict in report.verdicts:
        found = beside(mine, verdict, others) if verdict.grade is Grade.SLOW else None
        verdicts.append(replace(verdict, reason=f"{verdict.reason}; {found}") if found else verdict)
        new = [{"instance": verdict.instance, **one.to_json()} for one in found.reasons] if found else []
        rows += [row for row in new if row not in rows]
    kept = report.extra.get("reasons")
    reasons = [*(kept if isinstance(kept, list) else []), *rows]
    return replace(report, verdicts=tuple(verdicts), extra={**report.extra, "reasons": reasons})
