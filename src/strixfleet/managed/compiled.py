"""The desired state of a host: one list of things drives what is applied and what is audited."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from strixfleet.findings.items import Difference
from strixfleet.inventory.hardware import Profile
from strixfleet.inventory.known_defects import tagged_build
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.facts import FACT_QUESTIONS, ControllerFacts, Facts, facts_from
from strixfleet.managed.gpu_stack.aspect import gpu_stack
from strixfleet.managed.gpu_stack.kernel_floor import BOOT, releases_in_boot
from strixfleet.managed.kernel.aspect import kernel
from strixfleet.managed.kernel.kernel_release import newest
from strixfleet.managed.llama_cpp.aspect import llama_cpp, manifest_of
from strixfleet.managed.llama_cpp.build import MANIFEST, parse_manifest
from strixfleet.managed.llama_cpp.defects import defect_rows
from strixfleet.managed.llama_models.aspect import llama_models
from strixfleet.managed.llama_server.aspect import llama_server
from strixfleet.managed.llama_server.server_unit import OPTIONS_FILE
from strixfleet.managed.machine import Applied, Machine, kernel_line, profile_for
from strixfleet.managed.platforms.distributions import release_keys
from strixfleet.managed.tailscale.aspect import STATUS, tailnet_address, tailscale
from strixfleet.managed.things.thing import Deed, Thing
from strixfleet.managed.tuning.aspect import tuning
from strixfleet.on_host.questions import Answers, Ask, Json, Question
from strixfleet.on_host.switch.option_aliases import ONE_HOST


Aspect = Callable[[HostSettings, Machine], Iterable[Thing]]

# In the order in which they are applied; each is also a role, and the prefix of its things' ids.
ASPECTS: Mapping[str, Aspect] = {
    "gpu_stack": gpu_stack,
    "tuning": tuning,
    "kernel": kernel,
    "llama_cpp": llama_cpp,
    "llama_models": llama_models,
    "llama_server": llama_server,
    "tailscale": tailscale,
}
OPTIONS = Question(Ask.READ, OPTIONS_FILE)
MACHINE_QUESTIONS = (*FACT_QUESTIONS, BOOT, MANIFEST, OPTIONS)


def things_of(settings: HostSettings, machine: Machine) -> dict[str, tuple[Thing, ...]]:
    """Return all that must be true of a machine, by aspect."""
    return {name: tuple(aspect(settings, machine)) for name, aspect in ASPECTS.items()}


def questions_for(host: Host) -> frozenset[Question]:
    """
    Return everything to ask of a host, whatever machine it turns out to be: one round trip answers it.

    What has to be asked differs by distribution alone; all of those that are known are asked for.
    """
    settings = host.settings
    asked = set(MACHINE_QUESTIONS)
    if any(instance.host == "tailnet" for instance in settings.llama_server_instances):
        asked.add(STATUS)
    for line in ("", "6.18"):
        for os_id, os_version in release_keys():
            machine = Machine(gtt_gib=1, os_id=os_id, os_version=os_version, kernel_line=line)
            asked |= {
                one
                for rows in things_of(settings, machine).values()
                for thing in rows
                for one in thing.asks()
            }
    return frozenset(asked)


def machine_of(host: Host, facts: Facts, answers: Answers) -> tuple[Machine, Profile | None]:
    """Return what the desired state depends on, out of what the host answered."""
    profile, reason = profile_for(host.settings.hardware_profile, facts)
    manifest = parse_manifest(answers.text(MANIFEST.verb, MANIFEST.subject))
    machine = Machine(
        profile=profile.name if profile else None,
        gfx=profile.gfx if profile else None,
        gtt_gib=profile.gtt_gib if profile else None,
        reserve_gib=profile.reserve_gib if profile else 0,
        os_id=facts.os_id,
        os_version=facts.os_version,
        os_codename=facts.os_codename,
        kernel_line=kernel_line(newest(releases_in_boot(answers)) or facts.kernel_release),
        visible_gib=facts.memory_bytes >> 30,
        carve_out_gib=-(-facts.vram_bytes >> 30),
        physical_cores=facts.physical_cores,
        simulated=facts.simulated,
        serving_backend=manifest.backend if manifest else None,
        one_address=ONE_HOST.strip() in (answers.text(OPTIONS.verb, OPTIONS.subject) or ""),
        tailnet_address=tailnet_address(answers),
        gpu_id=facts.gpu_id if facts.other_gpus else None,
        gpu_number=facts.gpu_number if facts.other_gpus else 0,
        other_gpus=facts.other_gpus,
        card=facts.gpu_device,
        reason=reason,
    )
    return machine, profile


@dataclass(frozen=True)
class DesiredState:
    """What must be true of one host, and how that is held against what it answered."""

    host: Host
    facts: Facts
    machine: Machine
    profile: Profile | None
    pinned_build: int | None = None

    @cached_property
    def things(self) -> dict[str, tuple[Thing, ...]]:
        """All things by aspect."""
        return things_of(self.host.settings, self.machine)

    def differences(self, answers: Answers) -> tuple[Difference, ...]:
        """Hold everything that must be true against the answers, and the builds against known defects."""
        rows = tuple(thing.compare(answers) for rows in self.things.values() for thing in rows)
        manifest = manifest_of(answers)
        return (*rows, *defect_rows(self.host.settings, self.machine, self.pinned_build, manifest))

    def deeds(self, answers: Answers) -> dict[str, dict[str, list[Json]]]:
        """Return what has to be done by aspect and kind: what the roles take."""
        found: dict[str, dict[str, list[Json]]] = {}
        for aspect in ASPECTS:
            kinds = found.setdefault(aspect, {})
            for deed in self.deeds_of(aspect, answers):
                kinds.setdefault(deed.kind, []).append(dict(deed.arguments))
        return found

    def deeds_of(self, aspect: str, answers: Answers) -> Iterator[Deed]:
        """Return what has to be done for one aspect."""
        for thing in self.things[aspect]:
            yield from thing.deeds(answers)

    @cached_property
    def digest(self) -> str:
        """Digest of all that settings and machine say; nothing that the host alone decides is part of it."""
        return digest_of(self.things)

    @property
    def since_applied(self) -> str:
        """
        Say whom a difference is due to: `never` applied, `stale` since the inventory moved on, or `same`.

        A machine that changed since is none of the inventory's doing: what was recorded of it is taken then.
        """
        applied = Applied.read(self.facts.applied)
        if applied is None:
            return "never"
        if applied.digest == self.digest:
            return "same"
        if applied.machine is None or applied.machine == self.machine:
            return "stale"
        card, others = self.machine.card, self.machine.other_gpus
        before = things_of(self.host.settings, replace(applied.machine, card=card, other_gpus=others))
        return "same" if digest_of(before) == applied.digest else "stale"

    @property
    def recorded(self) -> dict[str, Json]:
        """Return what is recorded on the host when this was applied."""
        return {"digest": self.digest, "machine": self.machine.to_json()}


def digest_of(things: Mapping[str, Iterable[Thing]]) -> str:
    """Digest what settings and machine say of things."""
    rows = [[thing.id, thing.stated] for one in things.values() for thing in one]
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


def compile_host(host: Host, answers: Answers, controller: ControllerFacts) -> DesiredState:
    """Settle the desired state of one host from its inventory, its answers and the controller's files."""
    facts = facts_from(answers)
    machine, profile = machine_of(host, facts, answers)
    machine = replace(machine, tailscale_key=controller.tailscale_key)
    number = tagged_build(host.settings.llama_cpp_ref)
    return DesiredState(host, facts, machine, profile, controller.pinned_build if number is None else number)


__all__ = ["ASPECTS", "DesiredState", "compile_host", "questions_for", "things_of"]
