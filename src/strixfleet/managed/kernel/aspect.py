"""Kernel arguments and the memory that they make addressable for the GPU."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from strixfleet.findings.items import Cost, Cure, Rule, version_key
from strixfleet.inventory.hardware import PROFILES
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.facts import DRM, card_bytes
from strixfleet.managed.kernel.arguments import CMDLINE, GTT_NAMES, KernelArgument
from strixfleet.managed.kernel.command_line import occurrences, plain_name
from strixfleet.managed.machine import Machine
from strixfleet.managed.platforms.boot_loaders import GRUB, BootLoader
from strixfleet.managed.things.file import File
from strixfleet.managed.things.thing import Check, Deed, Have, Thing, unread
from strixfleet.on_host.questions import Answers, Ask, Json, Question


PAGES_PER_GIB = 262_144  # ttm.pages_limit counts 4 KiB pages: noamsto/nix-amd-ai#42, antirez/ds4#871
MIB_PER_GIB = 1_024  # amdgpu.gttsize counts MiB: the kernel's own parameter description
GTTSIZE_DEPRECATED = (6, 16)  # "Configuring gttsize via module parameter is deprecated": ROCm #5562
CARVE_OUT_LIMIT_GIB = 4  # AMD advises 0.5 GiB; boxes' smallest settings read up to 4 GiB
GTT_TOLERANCE = 0.01
VRAM_TOTAL = Question(Ask.GLOB, f"{DRM}/mem_info_vram_total")
GTT_TOTAL = Question(Ask.GLOB, f"{DRM}/mem_info_gtt_total")
NO_GPU = "no AMD GPU shows its memory in sysfs"


def gtt_arguments(gtt_gib: int, choice: str, kernel_line: str) -> dict[str, str]:
    """
    Return the arguments that make `gtt_gib` GiB addressable by the GPU.

    `auto` writes ttm.pages_limit alone where the kernel calls gttsize deprecated (6.16 and newer), else both:
    gttsize alone leaves HIP at half of the memory (apellegr/Strix-Halo-Models, kernel 6.18).
    """
    if choice == "auto":
        choice = "ttm" if version_key(kernel_line) >= GTTSIZE_DEPRECATED else "both"
    found = {}
    if choice in {"ttm", "both"}:
        found["ttm.pages_limit"] = str(gtt_gib * PAGES_PER_GIB)
    if choice in {"gttsize", "both"}:
        found["amdgpu.gttsize"] = str(gtt_gib * MIB_PER_GIB)
    return found


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
        kept = 0 if limits else machine.reserve_gib
        limits.append(machine.visible_gib + carved - kept)
    return min(limits, default=None)


def wanted_arguments(settings: HostSettings, machine: Machine) -> dict[str, str | None]:
    """Return all arguments in order; None is one that must be absent."""
    arguments: dict[str, str | None] = {}
    gtt_gib = wanted_gtt_gib(settings, machine)
    if gtt_gib is not None:
        arguments |= gtt_arguments(gtt_gib, settings.kernel_gtt_parameters, machine.kernel_line)
    for name, value in settings.kernel_arguments.items():
        arguments[name] = None if value == "absent" else "" if value is None else str(value)
    return arguments


@dataclass(frozen=True, kw_only=True)
class GeneratedConfiguration(Thing):
    """The boot loader's own file: not older than our drop-in, and with its arguments."""

    loader: BootLoader
    drop_in: File
    arguments: Mapping[str, str | None]
    cost: Cost = Cost.REBOOT

    @property
    def want(self) -> Json:
        return "regenerated after the drop-in"

    def asks(self) -> Iterator[Question]:
        yield Question(Ask.STAT, self.loader.drop_in)
        yield Question(Ask.STAT, self.loader.generated)
        yield Question(Ask.READ, self.loader.generated)

    def _newer_by_s(self, answers: Answers) -> float | None:
        """Return by how much it is newer than the drop-in; None where one of them is not there."""
        paths = (self.loader.generated, self.loader.drop_in)
        rows = (answers[Question(Ask.STAT, path)].value for path in paths)
        made_ns, written_ns = (row.get("mtime_ns") if isinstance(row, dict) else None for row in rows)
        if not isinstance(made_ns, int) or not isinstance(written_ns, int):
            return None
        return (made_ns - written_ns) / 1e9

    def read(self, answers: Answers) -> Have:
        """Compare the ages, unless the drop-in is not as wanted: then that is the difference."""
        if self.drop_in.read(answers).value != self.drop_in.want:
            return Have("the drop-in is not as wanted")
        for path in (self.loader.generated, self.loader.drop_in):
            if error := answers[Question(Ask.STAT, path)].error:
                return Have(error=error)
        newer_by_s = self._newer_by_s(answers)
        if newer_by_s is None:
            return Have(None)
        outdated = newer_by_s < 0
        words = f"outdated: {-newer_by_s:.1f} s older" if outdated else f"{newer_by_s:.1f} s newer"
        return Have(f"{words} than the drop-in")

    def holds(self, have: Json) -> bool:
        """Accept all but an outdated file: what else can be wrong has rows of its own."""
        return not str(have).startswith("outdated")

    def is_stale(self, answers: Answers) -> bool:
        """Tell whether it must be regenerated: outdated, or without one of the arguments."""
        line = self.loader.command_line(answers.text(Ask.READ, self.loader.generated)) or ""
        newer_by_s = self._newer_by_s(answers)
        return (newer_by_s is not None and newer_by_s < 0) or any(
            occurrences(line, name) != value for name, value in self.arguments.items()
        )

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        """Regenerate it; a run that was killed after it wrote the drop-in is finished so."""
        if self.is_stale(answers):
            yield Deed("regenerate", {"loader": self.loader.name})


@dataclass(frozen=True, kw_only=True)
class GttTotal(Thing):
    """The memory that the GPU can address, as the driver says; within 1 % of what the arguments ask for."""

    size_bytes: int
    arguments: Mapping[str, str]
    loader: BootLoader
    card: str
    cost: Cost = Cost.REBOOT
    live: tuple[str, ...] = ("running", "bytes")
    message: str = "the GPU cannot address the memory that the arguments ask for"

    @property
    def want(self) -> Json:
        return {"configured": True, "running": True, "bytes": self.size_bytes}

    def asks(self) -> Iterator[Question]:
        yield Question(Ask.READ, self.loader.generated)
        yield CMDLINE
        yield GTT_TOTAL

    def read(self, answers: Answers) -> Have:
        found = card_bytes(answers, self.card, "mem_info_gtt_total")
        error = unread(answers, self.asks())
        if found is None or error:
            return Have(error=error or NO_GPU)
        configured = self.loader.command_line(answers.text(Ask.READ, self.loader.generated)) or ""
        running = answers.text(CMDLINE.verb, CMDLINE.subject) or ""
        lines = {"configured": configured, "running": running}
        have: dict[str, Json] = {
            key: all(occurrences(line, name) == value for name, value in self.arguments.items())
            for key, line in lines.items()
        }
        return Have(have | {"bytes": found})

    def key_holds(self, key: str, have: Mapping[str, Json]) -> bool:
        """Accept a size close to the wanted one: the driver rounds."""
        found = have.get(key)
        if key == "bytes" and isinstance(found, int):
            return abs(found - self.size_bytes) <= GTT_TOLERANCE * self.size_bytes
        return super().key_holds(key, have)


def _removed(loader: BootLoader, arguments: Mapping[str, str | None]) -> Check:
    """Look for arguments that left the inventory and still run; those that it has are things of their own."""
    generated = Question(Ask.READ, loader.generated)
    own = set(map(plain_name, arguments))

    def read(answers: Answers) -> Have:
        error = answers[generated].error or answers[CMDLINE].error
        text, running = (answers.text(one.verb, one.subject) for one in (generated, CMDLINE))
        left = loader.left_running(text, running or "")
        return Have({"left": [word for word in left if plain_name(word) not in own]}, error)

    return Check(
        id="kernel:removed_arguments",
        wanted={"left": []},
        reader=read,
        questions=(generated, CMDLINE),
        cost=Cost.REBOOT,
        live=("left",),
        message="the running kernel was booted with what is no longer configured",
    )


def _carve_out(card: str) -> Check:
    def read(answers: Answers) -> Have:
        found = card_bytes(answers, card, "mem_info_vram_total")
        return Have(found, None if found is not None else answers[VRAM_TOTAL].error or NO_GPU)

    return Check(
        id="kernel:carve_out",
        wanted=CARVE_OUT_LIMIT_GIB << 30,
        reader=read,
        questions=(VRAM_TOTAL,),
        cure=Cure.MANUAL,
        rule=Rule.AT_MOST,
        message="set the smallest UMA frame buffer in the BIOS: GTT serves the GPU just as fast",
    )


def _profile(machine: Machine) -> Check:
    return Check(
        id="kernel:hardware_profile",
        wanted="a known profile",
        reader=lambda _answers: Have(machine.profile),
        rule=Rule.KNOWN,
        cure=Cure.MANUAL,
        message=machine.reason,
    )


def _gtt_fits_memory(gtt_gib: int, most_gib: int) -> Check:
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


def _boot_loader(loader: BootLoader) -> Check:
    tool = Question(Ask.STAT, loader.tool)

    def read(answers: Answers) -> Have:
        answer = answers[tool]
        return Have(loader.name if answer.value is not None else None, answer.error)

    def refuse(answers: Answers) -> Iterator[Deed]:
        if read(answers) == Have(None):
            text = f"this host has no {loader.tool}: kernel arguments are written for {loader.name} only"
            yield Deed("problem", {"text": text})

    return Check(
        id="kernel:boot_loader",
        wanted=loader.name,
        reader=read,
        questions=(tool,),
        cure=Cure.MANUAL,
        message=f"{loader.tool} is not there",
        steps=refuse,
    )


def kernel(settings: HostSettings, machine: Machine) -> Iterator[Thing]:
    """Return each argument configured once, running and in effect; the memory it makes; the carve-out."""
    loader = GRUB
    arguments = wanted_arguments(settings, machine)
    drop_in = File(id=f"kernel:{loader.drop_in}", path=loader.drop_in, source=loader.source(arguments))
    yield _profile(machine)
    yield _boot_loader(loader)
    yield drop_in
    generated = f"kernel:{loader.generated}"
    yield GeneratedConfiguration(id=generated, loader=loader, drop_in=drop_in, arguments=arguments)
    for name, value in arguments.items():
        yield KernelArgument(id=f"kernel:{name}", name=name, value=value, loader=loader)
    yield _removed(loader, arguments)
    gtt_gib, most_gib = wanted_gtt_gib(settings, machine), most_gtt_gib(machine)
    if gtt_gib is not None and most_gib is not None and gtt_gib > most_gib:
        yield _gtt_fits_memory(gtt_gib, most_gib)
    if gtt_gib is not None:
        asked = {name: value for name, value in arguments.items() if name in GTT_NAMES and value}
        yield GttTotal(
            id="kernel:gtt_total",
            size_bytes=gtt_gib << 30,
            arguments=asked,
            loader=loader,
            card=machine.card,
        )
    yield _carve_out(machine.card)
