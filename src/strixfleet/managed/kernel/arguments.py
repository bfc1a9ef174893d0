"""Kernel arguments: configured, running after a reboot, and judged by the parameter that the kernel shows."""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from strixfleet.findings.items import Cost, Cure
from strixfleet.managed.kernel.command_line import occurrences, plain_name
from strixfleet.managed.kernel.module_options import QUESTIONS as OPTION_FILES
from strixfleet.managed.kernel.module_options import module_options
from strixfleet.managed.platforms.boot_loaders import Boot, BootLoader
from strixfleet.managed.things.thing import Have, Thing, unread
from strixfleet.on_host.questions import Answers, Ask, Json, Question


CMDLINE = Question(Ask.READ, "/proc/cmdline")
GTT_NAMES = frozenset({"ttm.pages_limit", "amdgpu.gttsize"})
DEFAULTS = {"amdgpu.gttsize": "-1"}  # what sysfs shows where nothing sets it
NOT_APPLICABLE = "not applicable"
NEW_INITRAMFS = "run `update-initramfs -u -k all`, then reboot"  # it carries a copy of modprobe.d
# Read by programs and not by the kernel: systemd's kernel-command-line(7), dracut.cmdline(7).
USERSPACE = frozenset({"fsck", "luks", "net", "plymouth", "quotacheck", "rd", "systemd", "udev"})
KNOWN = "known to the kernel"
_BOOLEAN = {"Y": "1", "N": "0"}  # how sysfs shows a parameter of type bool


def _normal(value: Json) -> Json:
    return _BOOLEAN.get(value, value) if isinstance(value, str) else value


@dataclass(frozen=True, kw_only=True)
class KernelArgument(Thing):
    """
    One argument; a value of None means that it must be absent, "" a bare flag.

    A parameter of a module that the module's own list (`modinfo -F parm`) does not have is ignored by the
    kernel without a word: it is drift that only a correction of the inventory cures. What modprobe.d sets
    otherwise is named, though the command line wins over it (kmod reads it last): without ours it decides.
    """

    name: str
    value: str | None
    loader: BootLoader
    cost: Cost = Cost.REBOOT
    live: tuple[str, ...] = ("running", "effect")

    @property
    def module(self) -> str | None:
        """The module whose parameter it is, if any."""
        module, dot, parameter = self.name.partition(".")
        own = dot and module not in USERSPACE and re.fullmatch(r"[\w-]+", parameter)
        return module.replace("-", "_") if own else None

    @property
    def parameter(self) -> str:
        """The parameter in the kernel's spelling."""
        return self.name.partition(".")[2].replace("-", "_")

    @property
    def _has_effect(self) -> bool:
        return bool(self.value and self.value.isdigit() and self.module)

    @property
    def want(self) -> Json:
        want: dict[str, Json] = {"configured": self.value, "running": self.value}
        if self.value is not None and self.module:
            want["parameter"] = KNOWN
        if self._has_effect:
            want["effect"] = self.value
        elif self.value is None and plain_name(self.name) in DEFAULTS:
            want["effect"] = DEFAULTS[plain_name(self.name)]
        return want

    def _shown(self) -> Question:
        return Question(Ask.READ, f"/sys/module/{self.module}/parameters/{self.parameter}")

    def _loaded(self) -> Question:
        return Question(Ask.NAMES, f"/sys/module/{self.module}")

    def _listed(self) -> Question:
        return Question(Ask.PARAMETERS, str(self.module))

    def asks(self) -> Iterator[Question]:
        yield from self.loader.configuration_questions
        yield from self._decisive()
        if "parameter" in self._wanted:
            yield self._listed()

    def _decisive(self) -> Iterator[Question]:
        """Return the questions without whose answers nothing can be said."""
        yield from (*self.loader.boot_questions, CMDLINE)
        if self.module:
            yield from OPTION_FILES
        if "effect" in self._wanted or "parameter" in self._wanted:
            yield from (self._shown(), self._loaded())

    @property
    def _wanted(self) -> Mapping[str, Json]:
        want = self.want
        return want if isinstance(want, dict) else {}

    def holds(self, have: Json) -> bool:
        """Accept an argument that nothing else sets otherwise."""
        return super().holds(have) and not (isinstance(have, dict) and have.get("elsewhere"))

    def key_holds(self, key: str, have: Mapping[str, Json]) -> bool:
        """Accept how sysfs writes a switch, what sysfs does not show, and a module that is not loaded."""
        if key == "effect":
            shown = have.get("effect")
            hidden = shown is None and (self.value is None or self.name not in GTT_NAMES)
            return hidden or str(shown).startswith(NOT_APPLICABLE) or _normal(shown) == self._wanted["effect"]
        return super().key_holds(key, have)

    def read(self, answers: Answers) -> Have:
        if error := unread(answers, self._decisive()):
            return Have(error=error)
        boot = self.loader.boots(answers)
        have: dict[str, Json] = {
            "configured": occurrences(boot.line if boot else "", self.name),
            "running": occurrences(answers.text(CMDLINE.verb, CMDLINE.subject) or "", self.name),
        }
        shown = answers.text(Ask.READ, self._shown().subject)
        if "parameter" in self._wanted:
            listed = answers[self._listed()]
            if shown is None and not isinstance(listed.value, list):
                reason = listed.error or f"modinfo does not know a module {self.module}"
                return Have(error=f"cannot tell whether the kernel has {self.name}: {reason}")
            if shown is None and isinstance(listed.value, list) and self.parameter not in listed.value:
                have["parameter"] = "unknown to the kernel"
                return Have(have, message=self._misspelt(listed.value), cure=Cure.MANUAL)
            have["parameter"] = KNOWN
        if "effect" in self._wanted:
            absent = shown is None and answers[self._loaded()].value is None
            have["effect"] = f"{NOT_APPLICABLE}: the module {self.module} is not loaded" if absent else shown
        if elsewhere := self._set_elsewhere(answers):
            have["elsewhere"] = [*elsewhere]
        message, cure = self._why(have, boot, answers)
        return Have(have, message=message, cure=cure)

    def _set_elsewhere(self, answers: Answers) -> list[str]:
        """Return what other files make of the module's parameter, where that is not what is wanted."""
        return [
            f"{one.where}: {one.parameter}={one.value}"
            for one in module_options(answers)
            if (one.module, one.parameter) == (self.module, self.parameter)
            and (self.value is None or _normal(one.value) != _normal(self.value))
        ]

    def _misspelt(self, listed: list[Json]) -> str:
        near = difflib.get_close_matches(self.parameter, [str(one) for one in listed], 1)
        meant = f"; did you mean {self.module}.{near[0]}?" if near else ""
        return f"the module {self.module} has no parameter {self.parameter}{meant}"

    def _why(self, have: Mapping[str, Json], boot: Boot | None, answers: Answers) -> tuple[str, Cure | None]:
        """Say who decides where it is not as wanted, and what cures that if `provision` cannot."""
        elsewhere = have.get("elsewhere")
        if boot is None:
            loader = self.loader
            return f"no entry found in {loader.generated}: does this host boot by {loader.name}?", None
        if have["configured"] != self.value:
            return self._why_configured(boot, answers)
        if isinstance(elsewhere, list):
            lines = ", ".join(map(str, elsewhere))
            return f"set otherwise in {lines}; remove that line, {NEW_INITRAMFS}", Cure.MANUAL
        if have["running"] != self.value or "effect" not in have or self.key_holds("effect", have):
            return "", None
        if self.value is not None:
            return "on the running command line, but the kernel did not take it: see `dmesg`", Cure.MANUAL
        left = f"an initramfs made before may set {self.parameter}={have['effect']}"
        return f"no file sets it any more; {left}: {NEW_INITRAMFS}", Cure.MANUAL

    def _why_configured(self, boot: Boot, answers: Answers) -> tuple[str, Cure | None]:
        """Say what makes the boot loader's line, where it is not as wanted."""
        loader = self.loader
        if boot.unreached:
            return boot.unreached, Cure.MANUAL
        if winner := loader.overruled_by(answers, self.name):
            cure = "remove that line, or rename the file so that it sorts before it"
            return f"{winner} comes after {loader.drop_in} and wins: {cure}", Cure.MANUAL
        places = ", ".join(loader.set_in(answers, self.name))
        return (f"set in {places}: `strixfleet provision` takes it out of the line" if places else ""), None
