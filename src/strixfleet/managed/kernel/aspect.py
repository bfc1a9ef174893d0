"""Kernel arguments and the memory that they make addressable for the GPU."""

from collections.abc import Iterator, Mapping

from strixfleet.findings.items import Cost, Cure, Rule
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.facts import DRM, card_bytes
from strixfleet.managed.kernel.arguments import CMDLINE, GTT_NAMES, KernelArgument
from strixfleet.managed.kernel.command_line import plain_name
from strixfleet.managed.kernel.generated import GeneratedConfiguration
from strixfleet.managed.kernel.gtt import (
    CARVE_OUT_LIMIT_GIB,
    NO_GPU,
    NOT_APPLICABLE,
    GttTotal,
    gtt_arguments,
    gtt_fits_memory,
    most_gtt_gib,
    wanted_gtt_gib,
)
from strixfleet.managed.machine import Machine
from strixfleet.managed.platforms.boot_loaders import GRUB, BootLoader
from strixfleet.managed.things.file import File
from strixfleet.managed.things.thing import Check, Deed, Have, Thing, unread
from strixfleet.on_host.questions import Answers, Ask, Question


VRAM_TOTAL = Question(Ask.GLOB, f"{DRM}/mem_info_vram_total")


def wanted_arguments(settings: HostSettings, machine: Machine) -> dict[str, str | None]:
    """Return all arguments in order; None is one that must be absent."""
    arguments: dict[str, str | None] = {}
    gtt_gib = wanted_gtt_gib(settings, machine)
    if gtt_gib is not None:
        arguments |= gtt_arguments(gtt_gib, settings.kernel_gtt_parameters, machine.kernel_line)
    for name, value in settings.kernel_arguments.items():
        same = [known for known in arguments if plain_name(known) == plain_name(name)]
        for known in same:  # the other spelling of one argument: the last wins, as on a command line
            del arguments[known]
        arguments[name] = None if value == "absent" else "" if value is None else str(value)
    return arguments


def _removed(loader: BootLoader, arguments: Mapping[str, str | None]) -> Check:
    """Look for arguments that left the inventory and still run; those that it has are things of their own."""
    questions = (*loader.boot_questions, CMDLINE)
    own = set(map(plain_name, arguments))

    def read(answers: Answers) -> Have:
        left = loader.left_running(answers, answers.text(CMDLINE.verb, CMDLINE.subject) or "")
        found = [word for word in left if plain_name(word) not in own]
        return Have({"left": [*found]}, unread(answers, questions))

    return Check(
        id="kernel:removed_arguments",
        wanted={"left": []},
        reader=read,
        questions=questions,
        cost=Cost.REBOOT,
        live=("left",),
        message="the running kernel was booted with what is no longer configured",
    )


def _carve_out(card: str, *, expected: bool) -> Check:
    def read(answers: Answers) -> Have:
        found = card_bytes(answers, card, "mem_info_vram_total")
        error = answers[VRAM_TOTAL].error
        if found is None and not error and not expected:
            return Have(NOT_APPLICABLE)
        return Have(found, None if found is not None else error or NO_GPU)

    return Check(
        id="kernel:carve_out",
        wanted=CARVE_OUT_LIMIT_GIB << 30,
        reader=read,
        questions=(VRAM_TOTAL,),
        cure=Cure.MANUAL,
        rule=Rule.AT_MOST if expected else Rule.KNOWN,
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


def _other_gpus(found: tuple[str, ...]) -> Check:
    """Mention cards that nothing here goes by."""
    return Check(
        id="kernel:other_gpus",
        wanted="left alone",
        reader=lambda _answers: Have([*found]),
        rule=Rule.KNOWN,
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
    yield GeneratedConfiguration(id=generated, loader=loader, drop_in=drop_in)
    for name, value in arguments.items():
        yield KernelArgument(id=f"kernel:{name}", name=name, value=value, loader=loader)
    yield _removed(loader, arguments)
    gtt_gib, most_gib = wanted_gtt_gib(settings, machine), most_gtt_gib(machine)
    if gtt_gib is not None and most_gib is not None and gtt_gib > most_gib:
        yield gtt_fits_memory(gtt_gib, most_gib)
    gpu_expected = bool(machine.profile or machine.card)
    if gtt_gib is not None:
        asked = {name: value for name, value in arguments.items() if plain_name(name) in GTT_NAMES}
        yield GttTotal(
            id="kernel:gtt_total",
            size_bytes=gtt_gib << 30,
            arguments=asked,
            loader=loader,
            card=machine.card,
            expected=gpu_expected,
        )
    yield _carve_out(machine.card, expected=gpu_expected)
    if machine.gpu_id:
        yield _other_gpus(machine.other_gpus)
