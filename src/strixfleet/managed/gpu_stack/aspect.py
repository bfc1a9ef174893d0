"""The GPU stack: kernel, firmware, user space and the service account; floors and known-bad versions."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from strixfleet.findings.items import Cost, Cure, Rule
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.gpu_stack.apt_suites import second_tailscale_source, suites_file
from strixfleet.managed.gpu_stack.kernel_floor import KernelRelease, kernel_release
from strixfleet.managed.machine import Machine
from strixfleet.managed.platforms.apt_sources import (
    SOURCES,
    contradicting,
    mirror_of,
    missing_of,
    no_mirror,
    sources_of,
)
from strixfleet.managed.platforms.backends import Backend, backend_of
from strixfleet.managed.platforms.distributions import (
    Distribution,
    distribution,
    known_distributions,
    source_of,
)
from strixfleet.managed.things.account import Account
from strixfleet.managed.things.file import Folder
from strixfleet.managed.things.package import HELD, Holds, Package
from strixfleet.managed.things.thing import Check, Deed, Have, Settled, Thing, unread
from strixfleet.on_host.questions import Answers, Ask, Json, Question


ACCOUNT = "strixfleet"
GROUPS = ("render", "video")  # render opens /dev/kfd and /dev/dri/renderD*, video /dev/dri/card*
HOME = "/var/lib/strixfleet"
AMDVLK = tuple(
    Question(Ask.GLOB, f"{folder}/vulkan/icd.d/amd_icd*.json")  # llama.cpp #22375: -39 %
    for folder in ("/etc", "/usr/share")
)
# The second can carry the bad MES firmware: kyuz0/amd-strix-halo-toolboxes#37.
FOREIGN = tuple(Question(Ask.PACKAGE, name) for name in ("amdgpu-dkms", "amdgpu-dkms-firmware", "amdvlk"))
FIRMWARE_INFO = Question(Ask.GLOB, "/sys/kernel/debug/dri/*/amdgpu_firmware_info")
VENDOR_ROCM = Question(Ask.NAMES, "/opt/rocm")
OS_RELEASE = Question(Ask.READ, "/etc/os-release")
BAD_MES = "0x83"  # ROCm #5724


@dataclass(frozen=True, kw_only=True)
class Supported(Thing):
    """A system that this project knows, with all that the settings need of it."""

    settings: HostSettings
    machine: Machine
    known: Distribution | None
    cure: Cure = Cure.MANUAL

    @property
    def want(self) -> Json:
        return {"problems": []}

    def asks(self) -> Iterator[Question]:
        yield from (OS_RELEASE, *SOURCES, VENDOR_ROCM)

    def read(self, answers: Answers) -> Have:
        vendor = [VENDOR_ROCM] if self.settings.llama_cpp_backend == "rocm" else []
        error = unread(answers, (OS_RELEASE, *(() if contradicting(answers) else SOURCES), *vendor))
        system = f"{self.machine.os_id or 'an unknown system'} {self.machine.os_version}".strip()
        problems = self._problems(system, answers)
        return Have({"system": system, "problems": [*problems]}, error, "; ".join(problems))

    def _problems(self, system: str, answers: Answers) -> list[str]:
        known, settings = self.known, self.settings
        if known is None:
            return [f"{system} is not supported; hint: install one of {', '.join(known_distributions())}"]
        found = []
        source = source_of(settings.gpu_stack_kernel_from, known.kernel.auto)
        if source not in known.kernel.packages:
            names = ", ".join(known.kernel.packages)
            text = f"{known.label} has no kernel from {source}; hint: set gpu_stack_kernel_from to {names}"
            found.append(text)
        if settings.llama_cpp_backend == "rocm" and known.rocm.missing and not answers[VENDOR_ROCM].value:
            found.append(known.rocm.missing)
        sources = sources_of(answers)
        lacking = missing_of(sources, wanted_suites(settings, known).items())
        mirror = mirror_of(sources, known.base_suite, self.machine.os_id)
        if lacking and mirror is None and not contradicting(answers):
            found.append(no_mirror(answers, known.base_suite))
        return found

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        have = self.read(answers).value
        problems = have.get("problems") if isinstance(have, dict) else None
        for text in problems if isinstance(problems, list) else ():
            yield Deed("problem", {"text": text})


def wanted_suites(settings: HostSettings, known: Distribution) -> dict[str, tuple[str, ...]]:
    """Return the suites that the choices lead to, whatever is installed: a second run wants the same."""
    if not backend_of(settings.llama_cpp_backend).graphics:
        return {}
    chosen = {
        "distribution",
        source_of(settings.gpu_stack_kernel_from, known.kernel.auto),
        source_of(settings.gpu_stack_firmware_from, known.firmware.auto),
        source_of(settings.gpu_stack_mesa_from, known.mesa.auto),
    }
    rows = (known.suites[name] for name in sorted(chosen, reverse=True) if name in known.suites)
    return {row.suite: row.components for row in rows}


def _holds(packages: tuple[Package, ...], kernel: KernelRelease | None, *, held: bool) -> Settled:
    """Hold the packages of the stack, and the kernel's where it is installed or about to be."""
    names = tuple(one.name for one in packages)
    own = kernel.package if kernel else None

    def choose(answers: Answers) -> Thing:
        if own and (error := answers[Question(Ask.PACKAGE, own)].error):
            return Check(id="gpu_stack:held", wanted=[*names], reader=lambda _answers: Have(error=error))
        there = own and (answers.text(Ask.PACKAGE, own) or list(kernel.deeds(answers) if kernel else ()))
        return Holds(
            id="gpu_stack:held",
            names=tuple(sorted([*names, *([own] if own and there else [])])),
            held=held,
            message="" if held else "held although gpu_stack_hold_packages is off",
        )

    stated: Json = {"names": [*sorted(names)], "held": held}
    questions = (HELD, *(kernel.asks() if kernel else ()))
    return Settled(id="gpu_stack:held", statement=stated, choose=choose, questions=questions)


def _amdvlk() -> Check:
    def read(answers: Answers) -> Have:
        error = unread(answers, AMDVLK)
        paths = sorted(path for one in AMDVLK for path in answers.texts(one.subject))
        return Have([*paths], error)

    def remove(answers: Answers) -> Iterator[Deed]:
        for path in answers.texts(AMDVLK[0].subject):  # a package's own file is left to apt
            yield Deed("absent", {"path": path})

    return Check(
        id="gpu_stack:amdvlk",
        wanted=[],
        reader=read,
        questions=AMDVLK,
        message="AMDVLK overrides RADV silently and costs a third of prefill",
        steps=remove,
    )


def _foreign_packages() -> Check:
    def read(answers: Answers) -> Have:
        found = [one.subject for one in FOREIGN if answers[one].value is not None]
        return Have([*found], unread(answers, FOREIGN))

    return Check(
        id="gpu_stack:foreign_packages",
        wanted=[],
        reader=read,
        questions=FOREIGN,
        cure=Cure.MANUAL,
        cost=Cost.REBOOT,
        message="`apt purge` them: they replace the kernel's own driver or firmware",
    )


def _mes_firmware() -> Check:
    def read(answers: Answers) -> Have:
        for text in answers.texts(FIRMWARE_INFO.subject).values():
            pattern = r"^MES feature version: \d+, firmware version: 0x0*([0-9a-f]+)"
            if found := re.search(pattern, text, re.MULTILINE):
                return Have(f"0x{found[1]}")
        return Have(error=answers[FIRMWARE_INFO].error)  # debugfs is not mounted everywhere

    return Check(
        id="gpu_stack:mes_firmware",
        wanted=[BAD_MES],
        reader=read,
        questions=(FIRMWARE_INFO,),
        cure=Cure.REBOOT,
        cost=Cost.REBOOT,
        rule=Rule.NONE_OF,
        message=f"firmware with MES {BAD_MES} is loaded: replace linux-firmware 20251125, then reboot",
    )


def gpu_stack(settings: HostSettings, machine: Machine) -> Iterator[Thing]:
    """Return floors, sources, holds, the account; and what must not be there."""
    known = distribution(machine.os_id, machine.os_version)
    chosen: Backend = backend_of(settings.llama_cpp_backend)
    supported = "gpu_stack:distribution"
    yield Supported(id=supported, settings=settings, machine=machine, known=known)
    comment = "Serves language models"
    yield Account(id="gpu_stack:account", name=ACCOUNT, home=HOME, groups=GROUPS, comment=comment)
    yield Folder(id=f"gpu_stack:{HOME}", path=HOME)
    yield second_tailscale_source()
    if known is None:
        return
    yield suites_file(wanted_suites(settings, known), known, machine)
    packages = chosen.packages(settings, known)
    kernel = kernel_release(settings, known) if chosen.graphics else None
    if kernel:
        yield kernel
    yield from packages
    if packages:
        yield _holds(packages, kernel, held=settings.gpu_stack_hold_packages)
    if chosen.graphics:
        yield from (_amdvlk(), _foreign_packages(), _mes_firmware())
