"""The GPU stack: kernel, firmware, user space and the service account; floors and known-bad versions."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

from strixfleet import assets
from strixfleet.findings.items import Cost, Cure, Item, Observed, Rule
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.managed.aspect import Situation
from strixfleet.managed.gpu_stack.gpu_packages import package_wishes, source_of, wanted_suites
from strixfleet.managed.gpu_stack.kernel_floor import CWSR_PROPERTIES, KernelWish
from strixfleet.managed.platforms.apt_sources import (
    QUESTIONS,
    SOURCES_FILE,
    Source,
    added,
    contradicting,
    mirror_of,
    missing_of,
    no_mirror,
    sources_of,
)
from strixfleet.managed.platforms.distributions import (
    Distribution,
    distribution,
    every_package,
    known_distributions,
)
from strixfleet.managed.things.file import ManagedFile
from strixfleet.managed.things.package import PackageWish
from strixfleet.on_host.questions import Answers, Ask, Json, Question


ACCOUNT = "strixfleet"
GROUPS = ("render", "video")  # render opens /dev/kfd and /dev/dri/renderD*, video /dev/dri/card*
HOME = "/var/lib/strixfleet"
NO_SHELL = "/usr/sbin/nologin"
AMDVLK = (
    "/etc/vulkan/icd.d/amd_icd*.json",
    "/usr/share/vulkan/icd.d/amd_icd*.json",
)  # llama.cpp #22375: -39 %
FOREIGN = (
    "amdgpu-dkms",
    "amdgpu-dkms-firmware",
    "amdvlk",
)  # the second can carry the bad MES blob: kyuz0 #37
FIRMWARE_INFO = "/sys/kernel/debug/dri/*/amdgpu_firmware_info"
VENDOR_ROCM = "/opt/rocm"
BAD_MES = "0x83"  # ROCm #5724


@dataclass(frozen=True, slots=True)
class GpuStack:
    """The GPU stack of one host; no distribution means that nothing can be done there."""

    problems: tuple[str, ...]
    kernel: KernelWish | None
    packages: tuple[PackageWish, ...]
    added: tuple[Source, ...]
    hold: bool
    managed: tuple[str, ...]
    icds: tuple[str, ...]
    stray_sources: bool
    contradicting: tuple[str, ...]
    graphics: bool
    shows_firmware: bool

    name: ClassVar[str] = "gpu_stack"

    @classmethod
    def questions(cls, host: Host) -> Iterator[Question]:
        """Ask for sources, packages, account, and leftovers."""
        del host
        yield from QUESTIONS
        for pattern in (*AMDVLK, CWSR_PROPERTIES, FIRMWARE_INFO):
            yield Question(Ask.GLOB, pattern)
        for package in (*every_package(), *FOREIGN):
            yield Question(Ask.PACKAGE, package)
        yield Question(Ask.NAMES, "/boot")
        yield Question(Ask.NAMES, VENDOR_ROCM)
        yield Question(Ask.RUN, "held")
        yield Question(Ask.USER, ACCOUNT)
        yield Question(Ask.DIGEST, SOURCES_FILE)
        yield Question(Ask.DIGEST, HOME)

    @classmethod
    def compile(cls, situation: Situation) -> Self:
        """Settle what is needed from the backend, the distribution and its floors."""
        settings, answers = situation.host.settings, situation.answers
        known = distribution(situation.facts.os_id, situation.facts.os_version)
        graphics = settings.llama_cpp_backend != "cpu"
        sources = sources_of(answers)
        packages = package_wishes(settings, known) if known else ()
        kernel = KernelWish.settle(settings, known, situation) if known and graphics else None
        in_the_way = contradicting(answers)
        missing = (
            missing_of(sources, wanted_suites(settings, known).items()) if known and not in_the_way else ()
        )
        mirror = mirror_of(sources, known.base_suite, situation.facts.os_id) if known else None
        managed = [wish.name for wish in packages]
        if kernel and kernel.package and (kernel.wishes() or answers.text(Ask.PACKAGE, kernel.package)):
            managed.append(kernel.package)
        ours = answers[Question(Ask.DIGEST, SOURCES_FILE)].value
        stray = ours is not None and not missing and not in_the_way
        return cls(
            _problems(situation, known, mirror if missing else Source((), (), ())),
            kernel,
            packages,
            added(missing, sources, mirror) if mirror else (),
            settings.gpu_stack_hold_packages,
            tuple(sorted(managed)),
            tuple(sorted(path for pattern in AMDVLK for path in answers.texts(pattern))),
            stray,
            in_the_way,
            graphics,
            any(answers.texts(FIRMWARE_INFO).values()),
        )

    @property
    def sources_file(self) -> ManagedFile | None:
        """The apt source of ours, where the machine's own lack something."""
        if not self.added:
            return None
        return ManagedFile(SOURCES_FILE, assets.render(f"host{SOURCES_FILE}.j2", added=self.added))

    def items(self) -> Iterator[Item]:
        """Floors, sources, holds, the account; and what must not be there."""
        yield Item("gpu_stack:distribution", [], Cure.MANUAL, message="; ".join(self.problems))
        yield Item("gpu_stack:account", {"shell": NO_SHELL, "home": HOME, "groups": list(GROUPS)})
        home: dict[str, Json] = {"sha256": "directory", "mode": "0755", "owner": "root", "group": "root"}
        yield Item(f"gpu_stack:{HOME}", home)
        if self.sources_file:
            yield self.sources_file.item(self.name)
        elif self.stray_sources:
            yield Item(f"gpu_stack:{SOURCES_FILE}", None, message="the machine's own sources have it all")
        for path in self.contradicting:
            message = "another source of the host says the same repository otherwise, and apt refuses both"
            yield Item(f"gpu_stack:{path}", None, message=message)
        if self.kernel:
            yield self.kernel.item()
        for wish in self.packages:
            yield from wish.items(self.name)
        if self.managed:
            rule = Rule.INCLUDES if self.hold else Rule.NONE_OF
            message = "" if self.hold else "held although gpu_stack_hold_packages is off"
            yield Item("gpu_stack:held", list(self.managed), rule=rule, message=message)
        if self.graphics:
            yield from self._leftovers()

    def _leftovers(self) -> Iterator[Item]:
        yield Item(
            "gpu_stack:amdvlk", [], message="AMDVLK overrides RADV silently and costs a third of prefill"
        )
        message = "`apt purge` them: they replace the kernel's own driver or firmware"
        yield Item("gpu_stack:foreign_packages", [], Cure.MANUAL, Cost.REBOOT, message=message)
        if self.shows_firmware:
            message = f"firmware with MES {BAD_MES} is loaded: replace linux-firmware 20251125, then reboot"
            yield Item(
                "gpu_stack:mes_firmware", [BAD_MES], Cure.REBOOT, Cost.REBOOT, Rule.NONE_OF, message=message
            )

    def observe(self, answers: Answers) -> Iterator[Observed]:
        """Read packages, sources, account and leftovers."""
        read = [Question(Ask.READ, "/etc/os-release"), *(() if self.contradicting else QUESTIONS)]
        error = next((answers[one].error for one in read if answers[one].error), None)
        yield Observed("gpu_stack:distribution", list(self.problems), error)
        yield _observe_account(answers)
        home = answers[Question(Ask.DIGEST, HOME)]
        yield Observed(f"gpu_stack:{HOME}", home.value, home.error)
        answer = answers[Question(Ask.DIGEST, SOURCES_FILE)]
        if SOURCES_FILE not in self.contradicting:
            yield Observed(f"gpu_stack:{SOURCES_FILE}", answer.value, answer.error)
        for path in self.contradicting:
            yield Observed(f"gpu_stack:{path}", "contradicts another source")
        if self.kernel:
            yield self.kernel.observe()
        for wish in self.packages:
            yield from wish.observe(self.name, answers)
        held = answers[Question(Ask.RUN, "held")]
        words: list[Json] = list(held.value.split()) if isinstance(held.value, str) else []
        yield Observed("gpu_stack:held", [word for word in words if word in self.managed], held.error)
        error = next((e for one in AMDVLK if (e := answers[Question(Ask.GLOB, one)].error)), None)
        yield Observed("gpu_stack:amdvlk", list(self.icds), error)
        foreign = {name: answers[Question(Ask.PACKAGE, name)] for name in FOREIGN}
        error = next((answer.error for answer in foreign.values() if answer.error), None)
        found: list[Json] = [name for name, answer in foreign.items() if answer.value is not None]
        yield Observed("gpu_stack:foreign_packages", found, error)
        yield Observed("gpu_stack:mes_firmware", _mes_version(answers))

    def _stray_files(self) -> Iterator[str]:
        """Name the files of ours that are only in apt's way."""
        if self.stray_sources:
            yield SOURCES_FILE
        yield from self.contradicting

    def role_vars(self) -> dict[str, Json]:
        """Return the role its packages, files and account."""
        absent = [path for path in self.icds if path.startswith("/etc/")] if self.graphics else []
        wishes = [*self.packages, *(self.kernel.wishes() if self.kernel else ())]
        return {
            "gpu_stack_problems": list(self.problems),
            "gpu_stack_files": [self.sources_file.role_var()] if self.sources_file else [],
            "gpu_stack_absent": [*absent, *self._stray_files()],
            "gpu_stack_packages": [wish.role_var() for wish in wishes],
            "gpu_stack_held": list(self.managed) if self.hold else [],
            "gpu_stack_released": [] if self.hold else list(self.managed),
            "gpu_stack_account": {"name": ACCOUNT, "home": HOME, "shell": NO_SHELL, "groups": list(GROUPS)},
        }


def _problems(situation: Situation, known: Distribution | None, mirror: Source | None) -> tuple[str, ...]:
    """Say what keeps the role from working here, each with its remedy."""
    facts, settings = situation.facts, situation.host.settings
    if known is None:
        here = f"{facts.os_id or 'an unknown system'} {facts.os_version}".strip()
        return (f"{here} is not supported; hint: install one of {', '.join(known_distributions())}",)
    found = []
    source = source_of(settings.gpu_stack_kernel_from, known.kernel.auto)
    if source not in known.kernel.packages:
        names = ", ".join(known.kernel.packages)
        found.append(f"{known.label} has no kernel from {source}; hint: set gpu_stack_kernel_from to {names}")
    vendors = situation.answers[Question(Ask.NAMES, VENDOR_ROCM)].value
    if settings.llama_cpp_backend == "rocm" and known.rocm.missing and not vendors:
        found.append(known.rocm.missing)
    if mirror is None:
        found.append(no_mirror(situation.answers, known.base_suite))
    return tuple(found)


def _observe_account(answers: Answers) -> Observed:
    answer = answers[Question(Ask.USER, ACCOUNT)]
    have = answer.value
    if isinstance(have, dict):
        groups = have.get("groups")
        present = [group for group in GROUPS if isinstance(groups, list) and group in groups]
        have = {"shell": have.get("shell"), "home": have.get("home"), "groups": list(present)}
    return Observed("gpu_stack:account", have, answer.error)


def _mes_version(answers: Answers) -> str | None:
    for text in answers.texts(FIRMWARE_INFO).values():
        if found := re.search(
            r"^MES feature version: \d+, firmware version: 0x0*([0-9a-f]+)", text, re.MULTILINE
        ):
            return f"0x{found[1]}"
    return None
