"""Kernel arguments: configured, running after a reboot, and judged by the parameter that the kernel shows."""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from strixfleet.findings.items import Cost, Cure
from strixfleet.managed.kernel.command_line import occurrences
from strixfleet.managed.platforms.boot_loaders import BootLoader
from strixfleet.managed.things.thing import Have, Thing
from strixfleet.on_host.questions import Answers, Ask, Json, Question


CMDLINE = Question(Ask.READ, "/proc/cmdline")
GTT_NAMES = frozenset({"ttm.pages_limit", "amdgpu.gttsize"})
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
    kernel without a word: it is drift that only a correction of the inventory cures.
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
        return want

    def _shown(self) -> Question:
        return Question(Ask.READ, f"/sys/module/{self.module}/parameters/{self.parameter}")

    def _listed(self) -> Question:
        return Question(Ask.PARAMETERS, str(self.module))

    def asks(self) -> Iterator[Question]:
        yield Question(Ask.READ, self.loader.generated)
        yield CMDLINE
        if self.value is not None and self.module:
            yield self._shown()
            yield self._listed()

    def key_holds(self, key: str, have: Mapping[str, Json]) -> bool:
        """Accept how sysfs writes a switch, and a parameter that exists but is not shown in sysfs."""
        if key == "effect":
            shown = have.get("effect")
            hidden = shown is None and self.name not in GTT_NAMES
            return hidden or _normal(shown) == self.value
        return super().key_holds(key, have)

    def read(self, answers: Answers) -> Have:
        for question in self.asks():
            if question.verb is not Ask.PARAMETERS and (error := answers[question].error):
                return Have(error=error)
        configured = self.loader.command_line(answers.text(Ask.READ, self.loader.generated))
        running = answers.text(CMDLINE.verb, CMDLINE.subject) or ""
        have: dict[str, Json] = {
            "configured": occurrences(configured or "", self.name),
            "running": occurrences(running, self.name),
        }
        if self.value is None or not self.module:
            return Have(have, message=self._why(have, configured))
        shown = answers.text(Ask.READ, self._shown().subject)
        listed = answers[self._listed()]
        if shown is None and not isinstance(listed.value, list):
            reason = listed.error or f"modinfo does not know a module {self.module}"
            return Have(error=f"cannot tell whether the kernel has {self.name}: {reason}")
        if shown is None and isinstance(listed.value, list) and self.parameter not in listed.value:
            have["parameter"] = "unknown to the kernel"
            return Have(have, message=self._misspelt(listed.value), cure=Cure.MANUAL)
        have["parameter"] = KNOWN
        if self._has_effect:
            have["effect"] = shown
        return Have(have, message=self._why(have, configured))

    def _misspelt(self, listed: list[Json]) -> str:
        near = difflib.get_close_matches(self.parameter, [str(one) for one in listed], 1)
        meant = f"; did you mean {self.module}.{near[0]}?" if near else ""
        return f"the module {self.module} has no parameter {self.parameter}{meant}"

    def _why(self, have: dict[str, Json], configured: str | None) -> str:
        if configured is None:
            return f"no entry found in {self.loader.generated}: does this host boot by {self.loader.name}?"
        if have["running"] == self.value and not ("effect" not in have or self.key_holds("effect", have)):
            return "on the running command line, but the kernel did not take it"
        return ""
