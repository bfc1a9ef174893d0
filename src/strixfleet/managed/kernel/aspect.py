"""Kernel arguments: configured in GRUB, running after a reboot, and judged by their effect in sysfs."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from strixfleet import assets
from strixfleet.findings.items import Cost, Cure, Item, Observed, Rule, version_key
from strixfleet.inventory.hardware import Profile
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.managed.aspect import Situation
from strixfleet.managed.facts import DRM, Facts
from strixfleet.managed.kernel.command_line import (
    configured_command_line,
    left_running,
    occurrences,
    plain_name,
)
from strixfleet.managed.kernel.kernel_release import installed, newest
from strixfleet.managed.things.file import ManagedFile
from strixfleet.on_host.questions import Answers, Ask, Json, Question


GRUB_DROP_IN = "/etc/default/grub.d/zz-strixfleet.cfg"
GRUB_CFG = "/boot/grub/grub.cfg"
CMDLINE = "/proc/cmdline"
PAGES_PER_GIB = 262_144  # ttm.pages_limit counts 4 KiB pages: noamsto/nix-amd-ai#42, antirez/ds4#871
MIB_PER_GIB = 1_024  # amdgpu.gttsize counts MiB: the kernel's own parameter description
GTTSIZE_DEPRECATED = (6, 16)  # "Configuring gttsize via module parameter is deprecated": ROCm #5562
CARVE_OUT_LIMIT_BYTES = (
    4 << 30
)  # AMD advises 0.5 GiB; boxes' smallest settings read up to 4 GiB (rdna3-5 page)
GTT_TOLERANCE = 0.01
GTT_NAMES = frozenset({"ttm.pages_limit", "amdgpu.gttsize"})
BOOLEAN = {"Y": "1", "N": "0"}  # how sysfs shows a parameter of type bool


def gtt_arguments(gtt_gib: int, choice: str, kernel_release: str) -> dict[str, str]:
    """
    Return the arguments that make `gtt_gib` GiB addressable by the GPU.

    `auto` writes ttm.pages_limit alone where the kernel calls gttsize deprecated (6.16 and newer), else both:
    gttsize alone leaves HIP at half of the memory (apellegr/Strix-Halo-Models, kernel 6.18).
    """
    if choice == "auto":
        choice = "ttm" if version_key(kernel_release) >= GTTSIZE_DEPRECATED else "both"
    found = {}
    if choice in {"ttm", "both"}:
        found["ttm.pages_limit"] = str(gtt_gib * PAGES_PER_GIB)
    if choice in {"gttsize", "both"}:
        found["amdgpu.gttsize"] = str(gtt_gib * MIB_PER_GIB)
    return found


def default_gtt_gib(profile: Profile | None, facts: Facts) -> int | None:
    """Choose the profile's size; under a large carve-out, what the system sees less the reserve."""
    if profile is None or profile.gtt_gib is None:
        return None
    if facts.vram_bytes <= CARVE_OUT_LIMIT_BYTES:
        return profile.gtt_gib
    return max(1, min(profile.gtt_gib, (facts.memory_bytes >> 30) - profile.reserve_gib))


def booting_release(answers: Answers) -> str | None:
    """Return the kernel that the next boot takes: the newest one installed, which may not run yet."""
    names = answers[Question(Ask.NAMES, "/boot")].value
    return newest(installed(names if isinstance(names, list) else ()))


def _stale(arguments: Mapping[str, str | None], answers: Answers) -> bool:
    """Say whether grub.cfg still differs; decides after a killed run that wrote the drop-in and no more."""
    line = configured_command_line(answers.text(Ask.READ, GRUB_CFG)) or ""
    return any(occurrences(line, name) != value for name, value in arguments.items())


def _outdated(answers: Answers) -> bool:
    """Say whether the drop-in is newer than grub.cfg: a run was cut there, and what it took away stays."""
    written, made = (answers[Question(Ask.STAT, path)].value for path in (GRUB_DROP_IN, GRUB_CFG))
    if not isinstance(written, dict) or not isinstance(made, dict):
        return False
    return int(str(written["mtime_ns"])) > int(str(made["mtime_ns"]))


def _effect_path(name: str) -> str | None:
    module, dot, parameter = name.partition(".")
    return f"/sys/module/{module}/parameters/{parameter}" if dot and re.fullmatch(r"\w+", parameter) else None


@dataclass(frozen=True, slots=True)
class Kernel:
    """The kernel arguments of one host; a value of None means that the argument must be absent."""

    arguments: Mapping[str, str | None]
    gtt_bytes: int | None
    profile: str | None
    reason: str
    card: str
    stale: bool

    name: ClassVar[str] = "kernel"

    @classmethod
    def questions(cls, host: Host) -> Iterator[Question]:
        """Ask for both command lines and for the effects."""
        yield Question(Ask.DIGEST, GRUB_DROP_IN)
        yield Question(Ask.STAT, GRUB_DROP_IN)
        yield Question(Ask.STAT, GRUB_CFG)
        yield Question(Ask.NAMES, "/boot")
        yield Question(Ask.READ, GRUB_CFG)
        yield Question(Ask.READ, CMDLINE)
        yield Question(Ask.GLOB, f"{DRM}/mem_info_gtt_total")
        for name in ("ttm.pages_limit", "amdgpu.gttsize", *host.settings.kernel_arguments):
            if path := _effect_path(name):
                yield Question(Ask.READ, path)

    @classmethod
    def compile(cls, situation: Situation) -> Self:
        """Settle the arguments from the inventory, the profile and the kernel."""
        settings, facts = situation.host.settings, situation.facts
        gtt_gib: int | None
        if settings.kernel_gtt_gib == "auto":
            gtt_gib = default_gtt_gib(situation.profile, facts)
        else:
            gtt_gib = settings.kernel_gtt_gib
        arguments: dict[str, str | None] = {}
        release = booting_release(situation.answers) or facts.kernel_release
        if gtt_gib is not None:
            arguments |= gtt_arguments(gtt_gib, settings.kernel_gtt_parameters, release)
        for name, value in settings.kernel_arguments.items():
            arguments[name] = None if value == "absent" else "" if value is None else str(value)
        return cls(
            arguments,
            gtt_gib << 30 if gtt_gib is not None else None,
            situation.profile.name if situation.profile else None,
            situation.reason,
            facts.gpu_device,
            _stale(arguments, situation.answers) or _outdated(situation.answers),
        )

    @property
    def drop_in(self) -> ManagedFile:
        """The GRUB drop-in."""
        words = [n if v == "" else f"{n}={v}" for n, v in self.arguments.items() if v is not None]
        content = assets.render(f"host{GRUB_DROP_IN}.j2", names=list(self.arguments), words=words)
        return ManagedFile(GRUB_DROP_IN, content)

    def items(self) -> Iterator[Item]:
        """Each argument configured once, running and in effect; the memory it makes; the carve-out."""
        yield Item("kernel:hardware_profile", "recognised", Cure.MANUAL, message=self.reason)
        yield self.drop_in.item(self.name)
        yield Item(f"kernel:{GRUB_CFG}", "made from the drop-in", cost=Cost.REBOOT)
        for name, value in self.arguments.items():
            want: dict[str, Json] = {"configured": value, "running": value}
            if value and value.isdigit() and _effect_path(name):
                want["effect"] = value
            yield Item(f"kernel:{name}", want, cost=Cost.REBOOT, live=("running", "effect"))
        want_left: dict[str, Json] = {"left": []}
        message = "the running kernel was booted with what is configured no more"
        yield Item("kernel:removed_arguments", want_left, cost=Cost.REBOOT, live=("left",), message=message)
        if self.gtt_bytes is not None:
            yield Item(
                "kernel:gtt_total",
                {"configured": True, "running": True, "bytes": self.gtt_bytes},
                cost=Cost.REBOOT,
                live=("running", "bytes"),
                message="the GPU cannot address the memory that the arguments ask for",
            )
        yield Item(
            "kernel:carve_out",
            CARVE_OUT_LIMIT_BYTES,
            Cure.MANUAL,
            rule=Rule.AT_MOST,
            message="set the smallest UMA frame buffer in the BIOS: GTT serves the GPU just as fast",
        )

    def observe(self, answers: Answers) -> Iterator[Observed]:
        """Read both command lines and the effects."""
        yield Observed("kernel:hardware_profile", "recognised" if self.profile else "unknown")
        drop_in = self.drop_in.observe(self.name, answers)
        yield drop_in
        yield self._observe_grub_cfg(answers, known=drop_in.have == self.drop_in.item(self.name).want)
        yield from self._observe_arguments(answers)
        yield self._observe_removed(answers)
        if self.gtt_bytes is not None:
            yield self._observe_gtt(answers)
        text = answers.texts(f"{DRM}/mem_info_vram_total").get(f"{self.card}/mem_info_vram_total", "")
        if text.isdigit():
            yield Observed("kernel:carve_out", int(text))
        else:
            yield Observed("kernel:carve_out", error="no AMD GPU shows its memory in sysfs")

    def _observe_grub_cfg(self, answers: Answers, *, known: bool) -> Observed:
        """Compare its age with the drop-in's, unless that is not as wanted: then that is the difference."""
        for path in (GRUB_CFG, GRUB_DROP_IN) if known else ():
            if error := answers[Question(Ask.STAT, path)].error:
                return Observed(f"kernel:{GRUB_CFG}", error=error)
        older = known and _outdated(answers)
        return Observed(f"kernel:{GRUB_CFG}", "older than it" if older else "made from the drop-in")

    def _lines(self, answers: Answers) -> tuple[str | None, str]:
        configured = configured_command_line(answers.text(Ask.READ, GRUB_CFG))
        return configured, answers.text(Ask.READ, CMDLINE) or ""

    def _observe_arguments(self, answers: Answers) -> Iterator[Observed]:
        configured, running = self._lines(answers)
        for name, value in self.arguments.items():
            have: dict[str, Json] = {
                "configured": occurrences(configured or "", name),
                "running": occurrences(running, name),
            }
            path = _effect_path(name)
            if value and value.isdigit() and path:
                shown = answers.text(Ask.READ, path)
                if shown is None and name not in GTT_NAMES:
                    shown = value  # not every parameter is in sysfs, and its module need not be loaded
                have["effect"] = BOOLEAN.get(shown or "", shown)
            message = ""
            if have["running"] == value and have.get("effect", value) != value:
                message = "on the running command line, but the kernel did not take it"
            elif configured is None:
                message = f"no entry found in {GRUB_CFG}: does this host boot by GRUB?"
            yield Observed(f"kernel:{name}", have, message=message)

    def _observe_removed(self, answers: Answers) -> Observed:
        """Look for arguments that are the inventory's no more; those that it has are items of their own."""
        asked = [answers[Question(Ask.READ, path)] for path in (GRUB_CFG, CMDLINE)]
        error = next((one.error for one in asked if one.error), None)
        own = set(map(plain_name, self.arguments))
        grub_cfg, running = (answers.text(Ask.READ, path) for path in (GRUB_CFG, CMDLINE))
        left = [word for word in left_running(grub_cfg, running or "") if plain_name(str(word)) not in own]
        return Observed("kernel:removed_arguments", {"left": left}, error)

    def _observe_gtt(self, answers: Answers) -> Observed:
        configured, running = self._lines(answers)
        names = [name for name in self.arguments if name in GTT_NAMES]
        text = answers.texts(f"{DRM}/mem_info_gtt_total").get(f"{self.card}/mem_info_gtt_total", "")
        if not text.isdigit():
            return Observed("kernel:gtt_total", error="no AMD GPU shows its memory in sysfs")
        want, have = self.gtt_bytes or 0, int(text)
        near = abs(have - want) <= GTT_TOLERANCE * want
        return Observed(
            "kernel:gtt_total",
            {
                "configured": all(
                    occurrences(configured or "", name) == self.arguments[name] for name in names
                ),
                "running": all(occurrences(running, name) == self.arguments[name] for name in names),
                "bytes": want if near else have,
            },
        )

    def role_vars(self) -> dict[str, Json]:
        """Return the role its file and what the running kernel must show."""
        return {"kernel_files": [self.drop_in.role_var()], "kernel_stale": self.stale}
