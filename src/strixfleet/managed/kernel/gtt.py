"""The memory that kernel arguments make addressable for the GPU: its size, its limit, and what came of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from strixfleet.findings.items import Cost, Cure, Rule, version_key
from strixfleet.inventory.hardware import LEAST_SHARE_OF_TIER, PROFILES
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.facts import DRM, card_bytes
from strixfleet.managed.kernel.arguments import CMDLINE
from strixfleet.managed.kernel.command_line import occurrences
from strixfleet.managed.machine import Machine
from strixfleet.managed.platforms.boot_loaders import Boot, BootLoader
from strixfleet.managed.things.thing import Check, Deed, Have, Thing, unread
from strixfleet.on_host.questions import Answers, Ask, Json, Question


PAGES_PER_GIB = 262_144  # ttm.pages_limit counts 4 KiB pages: noamsto/nix-amd-ai#42, antirez/ds4#871
MIB_PER_GIB = 1_024  # amdgpu.gttsize counts MiB: the kernel's own parameter description
GTTSIZE_DEPRECATED = (6, 16)  # "Configuring gttsize via module parameter is deprecated": ROCm #5562
CARVE_OUT_LIMIT_GIB = 4  # AMD advises 0.5 GiB; boxes' smallest settings read up to 4 GiB
RESERVE_GIB = 4  # what the system keeps of a machine that has no profile
GTT_TOLERANCE = 0.01
GTT_TOTAL = Question(Ask.GLOB, f"{DRM}/mem_info_gtt_total")
NO_GPU = "no AMD GPU shows its memory in sysfs"
NOT_APPLICABLE = "not applicable: no AMD GPU is there"


def gtt_arguments(gtt_gib: int, choice: str, kernel_line: str) -> dict[str, str | None]:
    """
    Return the arguments that make `gtt_gib` GiB addressable by the GPU; None is one that must be absent.

    `auto` writes ttm.pages_limit alone where the kernel calls gttsize deprecated (6.16 and newer), else both:
    gttsize alone leaves HIP at half of the memory (apellegr/Strix-Halo-Models, kernel 6.18). One that is not
    written must not be left over from a guide: gttsize still decides the size (amdgpu_ttm.c, Linux 6.18).
    """
    if choice == "auto":
        choice = "ttm" if version_key(kernel_line) >= GTTSIZE_DEPRECATED else "both"
    pages, mib = str(gtt_gib * PAGES_PER_GIB), str(gtt_gib * MIB_PER_GIB)
    return {
        "ttm.pages_limit": pages if choice in {"ttm", "both"} else None,
        "amdgpu.gttsize": mib if choice in {"gttsize", "both"} else None,
    }


def wanted_gtt_gib(settings: HostSettings, machine: Machine) -> int | None:
    """Return the inventory's size, else the profile's; with a large carve-out visible memory less some."""
    if settings.kernel_gtt_gib != "auto":
        return settings.kernel_gtt_gib
    if machine.gtt_gib is None or machine.carve_out_gib <= CARVE_OUT_LIMIT_GIB:
        return machine.gtt_gib
    return max(1, min(machine.gtt_gib, machine.visible_gib - machine.reserve_gib))


def most_gtt_gib(machine: Machine) -> int | None:
    """
    Return the largest size that leaves the system its reserve; None where the memory is not known.

    The size is known from the profile and from what the kernel sees: a small carve-out counts as memory, a
    large one is out of GTT's reach. A simulated box has the memory of its profile, not that of the machine
    that it runs on.
    """
    limits = []
    profile = PROFILES.get(machine.profile or "")
    if profile and profile.memory_gib:
        limits.append(profile.memory_gib - profile.reserve_gib)
    if machine.visible_gib and machine.simulated is None:
        carved = machine.carve_out_gib if machine.carve_out_gib <= CARVE_OUT_LIMIT_GIB else 0
        usable_gib = machine.visible_gib + carved
        as_profile = profile and profile.memory_gib and usable_gib >= LEAST_SHARE_OF_TIER * profile.memory_gib
        kept_gib = min(machine.reserve_gib or RESERVE_GIB, usable_gib // 2)
        limits.append(usable_gib - (0 if as_profile else kept_gib))
    return min(limits, default=None)


@dataclass(frozen=True, kw_only=True)
class GttTotal(Thing):
    """The memory that the GPU can address, as the driver says; within 1 % of what the arguments ask for."""

    size_bytes: int
    arguments: Mapping[str, str | None]
    loader: BootLoader
    card: str
    expected: bool = True  # whether there is a card, or a profile that has one
    cost: Cost = Cost.REBOOT
    live: tuple[str, ...] = ("running", "bytes")
    message: str = "the GPU cannot address the memory that the arguments ask for"

    @property
    def want(self) -> Json:
        return {"configured": True, "running": True, "bytes": self.size_bytes}

    def asks(self) -> Iterator[Question]:
        yield from self.loader.configuration_questions
        yield from self._decisive()

    def _decisive(self) -> Iterator[Question]:
        """Return the questions without whose answers nothing can be said."""
        yield from (*self.loader.boot_questions, CMDLINE, GTT_TOTAL)

    def read(self, answers: Answers) -> Have:
        found = card_bytes(answers, self.card, "mem_info_gtt_total")
        error = unread(answers, self._decisive())
        if error or (found is None and self.expected):
            return Have(error=error or NO_GPU)
        boot = self.loader.boots(answers)
        running = answers.text(CMDLINE.verb, CMDLINE.subject) or ""
        lines = {"configured": boot.line if boot else "", "running": running}
        have: dict[str, Json] = {
            key: all(occurrences(line, name) == value for name, value in self.arguments.items())
            for key, line in lines.items()
        }
        have["bytes"] = NOT_APPLICABLE if found is None else found
        return Have(have, cure=Cure.MANUAL if self._is_beyond_provision(have, boot, answers) else None)

    def _is_beyond_provision(self, have: Mapping[str, Json], boot: Boot | None, answers: Answers) -> bool:
        """Tell whether the arguments have no effect, or cannot be made right: their own rows say why."""
        if have["configured"]:
            return have["running"] is True and not self.key_holds("bytes", have)
        overruled = any(self.loader.overruled_by(answers, name) for name in self.arguments)
        return overruled or bool(boot and boot.unreached)

    def key_holds(self, key: str, have: Mapping[str, Json]) -> bool:
        """Accept a size close to the wanted one: the driver rounds."""
        found = have.get(key)
        if key == "bytes" and isinstance(found, int):
            return abs(found - self.size_bytes) <= GTT_TOLERANCE * self.size_bytes
        if key == "bytes" and found == NOT_APPLICABLE:
            return True
        return super().key_holds(key, have)


def gtt_fits_memory(gtt_gib: int, most_gib: int) -> Check:
    """Refuse the host before anything is written: such a size takes the memory that the system runs in."""
    message = (
        f"kernel_gtt_gib asks for {gtt_gib} GiB, and this machine can spare {most_gib}: "
        f"write kernel_gtt_gib: {most_gib} or less, or check hardware_profile"
    )
    return Check(
        id="kernel:gtt_fits_memory",
        wanted=most_gib,
        reader=lambda _answers: Have(gtt_gib),
        rule=Rule.AT_MOST,
        cure=Cure.MANUAL,
        message=message,
        steps=lambda _answers: (Deed("problem", {"text": message}),),
    )
