"""Why a host is slower than its peers: how the faster hosts of its profile differ, from one run."""

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
from strixfleet.speed.judge.comparable_facts import ABSENT, comparable_facts, options_of
from strixfleet.speed.judge.slow_causes import SlowCause, in_words, ranked, weight_of


# By the start of an id.
_PROVISION = "strixfleet provision -l {host}"
_CURES: Mapping[str, str] = {
    "gpu_stack:kernel": "boot kernel {value} on {host}; `gpu_stack_kernel_floor: {number}` if newer",
    "gpu_stack:mes_firmware": "install the GPU firmware of {peer} on {host}, then reboot it",
    "gpu_stack:": "on {host}: apt install {name}={value}",
    "kernel:gtt_total": f"give {{host}} the kernel_gtt_gib of {{peer}}, then {_PROVISION} --reboot ask",
    "kernel:carve_out": "set the UMA frame buffer in the BIOS of {host} to the value of {peer}",
    "kernel:": f"set `{{name}}: {{setting}}` in kernel_arguments, then {_PROVISION} --reboot ask",
    "llama_cpp:": "set the llama_cpp_ref and options of {peer}, then strixfleet upgrade -l {host}",
    "llama_server:": f"set `{{name}}` of the instance as on {{peer}}, then {_PROVISION}",
    "tuning:": f"give {{host}} the tuning of {{peer}}, then {_PROVISION}",
    "bios:": "install BIOS {value}",
}
_MAY_BE_ABSENT = ("kernel:", "llama_server:")
_MEASURED = ("kernel:gtt_total", "kernel:carve_out")


@dataclass(frozen=True, slots=True)
class Peer:
    """
    One host as it was read and measured.

    `options` are by instance, `models` are digests by name. `reported` are the ids of differences that the
    host's own report names already.
    """

    name: str
    profile: str | None
    facts: Mapping[str, str]
    options: Mapping[str, Mapping[str, str]]
    models: Mapping[str, tuple[str, ...]]
    reported: frozenset[str]
    verdicts: tuple[Verdict, ...]

    @classmethod
    def of(
        cls, state: DesiredState, answers: Answers, rows: tuple[Difference, ...], report: HostReport
    ) -> "Peer":
        """Describe a host that was probed and measured."""
        settings = state.host.settings
        files = catalogue(settings.llama_models).items()
        return cls(
            state.host.name,
            state.profile.name if state.profile else None,
            comparable_facts(state, answers, rows),
            {one.name: options_of(state, one) for one in settings.llama_server_instances},
            {name: tuple(file.sha256 for file in parts) for name, parts in files},
            frozenset(row.id for row in rows if row.status in {Status.DRIFT, Status.PENDING_REBOOT}),
            report.verdicts,
        )

    def all_of(self, instance: str) -> dict[str, str]:
        """Return the facts that may affect the speed of one instance."""
        return {**self.facts, **self.options.get(instance, {})}

    def faster(self, verdict: Verdict, other: "Peer") -> Verdict | None:
        """Return another host's good verdict on the same file and test, if it is clearly faster."""
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
class FasterPeer:
    """A faster peer, its speed, and the differences to it, the likeliest cause first."""

    name: str
    tps: float
    causes: tuple[SlowCause, ...]

    def __str__(self) -> str:
        """Return the differences in words, or that there are none."""
        if self.causes:
            return f"compared with {self.name}: {in_words(self.causes)}"
        return f"{self.name} reaches {self.tps:.2f} t/s, and no difference was found"


def compare_with_fastest(mine: Peer, verdict: Verdict, others: Sequence[Peer]) -> FasterPeer | None:
    """
    Compare a slow host with its fastest peer.

    A difference is left out if another faster peer has the same value as the slow host.
    """
    found = [(one, other) for other in others if (one := mine.faster(verdict, other))]
    faster = sorted(found, key=lambda pair: -(pair[0].measured_tps or 0.0))
    if not faster:
        return None
    own = mine.all_of(verdict.instance)
    rest = [other.all_of(one.instance) for one, other in faster[1:]]
    best, peer = faster[0]
    tps = best.measured_tps or 0.0
    causes = [
        _cause(item, (own.get(item, ABSENT), theirs), (mine.name, peer.name), tps)
        for item, theirs in _differing(own, peer.all_of(best.instance))
        if item not in mine.reported and all(one.get(item, ABSENT) != own.get(item, ABSENT) for one in rest)
    ]
    return FasterPeer(peer.name, tps, ranked(causes))


def _differing(own: Mapping[str, str], theirs: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Return the ids whose values differ, with the peer's value; skip what was read on one host only."""
    for item in sorted({*own, *theirs}):
        optional = item.startswith(_MAY_BE_ABSENT) and item not in _MEASURED
        if own.get(item) != theirs.get(item) and (optional or (item in own and item in theirs)):
            yield item, theirs.get(item, ABSENT)


def _cause(item: str, values: tuple[str, str], hosts: tuple[str, str], tps: float) -> SlowCause:
    """Describe one difference; values and hosts are this host's and the peer's."""
    have, value = (printable(one) for one in values)
    host, peer = hosts
    words = {
        "host": host,
        "peer": peer,
        "name": shlex.quote(item.partition(":")[2]),
        "value": shlex.quote(value),  # users paste cures into a shell, and this text comes from another host
        "number": ".".join(str(part) for part in version_key(value)),
        "setting": {ABSENT: "absent", "set": "null"}.get(value, shlex.quote(value)),
    }
    cure = next(text for start, text in _CURES.items() if item.startswith(start)).format(**words)
    evidence = f"{peer} has {value}, this host has {have}; {peer} reaches {tps:.2f} t/s"
    return SlowCause(item, evidence, cure, weight_of(item) or 0.0)


def explained_by_peers(mine: Peer, report: HostReport, others: Sequence[Peer]) -> HostReport:
    """Add to a host's slow verdicts how its fastest peer differs."""
    rows: list[Json] = []
    verdicts = []
    for verdict in report.verdicts:
        found = compare_with_fastest(mine, verdict, others) if verdict.grade is Grade.SLOW else None
        verdicts.append(replace(verdict, reason=f"{verdict.reason}; {found}") if found else verdict)
        new = [{"instance": verdict.instance, **one.to_json()} for one in found.causes] if found else []
        rows += [row for row in new if row not in rows]
    kept = report.extra.get("reasons")
    reasons = [*(kept if isinstance(kept, list) else []), *rows]
    return replace(report, verdicts=tuple(verdicts), extra={**report.extra, "reasons": reasons})
