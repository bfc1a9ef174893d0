"""What is managed? One file per thing; ASPECTS is the order in which they are applied."""

from dataclasses import replace

from strixfleet.inventory.hardware import PROFILES, Profile, recognise
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.managed.aspect import Aspect, HostState, Situation
from strixfleet.managed.facts import FACT_QUESTIONS, NO_CONTROLLER_FILES, ControllerFacts, Facts, facts_from
from strixfleet.managed.gpu_stack.aspect import GpuStack
from strixfleet.managed.kernel.aspect import Kernel
from strixfleet.managed.llama_cpp.aspect import LlamaCpp
from strixfleet.managed.llama_models.aspect import LlamaModels
from strixfleet.managed.llama_server.aspect import LlamaServer
from strixfleet.managed.tailscale.aspect import Tailscale
from strixfleet.managed.tuning.aspect import Tuning
from strixfleet.on_host.questions import Answers, Question


ASPECTS: tuple[type[Aspect], ...] = (Kernel, GpuStack, Tuning, LlamaCpp, LlamaModels, LlamaServer, Tailscale)


def questions_for(host: Host) -> frozenset[Question]:
    """Say everything to ask of a host: one round trip answers it."""
    asked = (question for aspect in ASPECTS for question in aspect.questions(host))
    return frozenset((*FACT_QUESTIONS, *asked))


def profile_for(wish: str, facts: Facts) -> tuple[Profile | None, str]:
    """Choose the hardware profile: as the inventory says, or as the host was recognised."""
    found = recognise(facts.dmi or {}, facts.pci_ids, facts.memory_bytes + facts.vram_bytes)
    if wish not in {"auto", "sandbox"}:
        return PROFILES[wish], "set in the inventory"
    recognised = PROFILES[found.profile] if found.profile else None
    if wish == "auto" or recognised is None:
        return recognised, found.reason
    sandbox = replace(
        PROFILES["sandbox"],
        memory_gib=recognised.memory_gib,
        gtt_gib=recognised.gtt_gib,
        gfx=recognised.gfx,
    )
    return sandbox, f"a sandbox that presents a {recognised.name}"


def compile_host(
    host: Host, answers: Answers, controller: ControllerFacts = NO_CONTROLLER_FILES
) -> HostState:
    """Settle the desired state of one host from its inventory, its answers and the controller's files."""
    facts = facts_from(answers)
    profile, reason = profile_for(host.settings.hardware_profile, facts)
    situation = Situation(host, facts, profile, reason, answers, controller)
    return HostState(host, facts, profile, tuple(aspect.compile(situation) for aspect in ASPECTS))
