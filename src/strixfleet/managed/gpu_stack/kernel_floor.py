"""The kernel that a host must have installed and be running, judged with backported fixes in mind."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from strixfleet.findings.items import Cost, Item, Observed
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.aspect import Situation
from strixfleet.managed.kernel.kernel_release import (
    at_least,
    flavour_floor,
    installed,
    is_known_bad,
    newest,
    release_key,
)
from strixfleet.managed.platforms.distributions import Distribution
from strixfleet.managed.things.package import PackageWish
from strixfleet.on_host.questions import Ask, Json, Question


CWSR_PROPERTIES = "/sys/class/kfd/kfd/topology/nodes/*/properties"


@dataclass(frozen=True, slots=True)
class KernelWish:
    """
    A kernel not older than its flavour's floor and none of the known-bad ones.

    `shows_fix` is set where KFD shows cwsr_size, which only kernels with the CWSR fix do: such a kernel, and
    any newer one, passes the shipped floors whatever its number (lemonade docs, gfx1151_linux.html).
    """

    package: str | None
    suite: str | None
    floors: Mapping[str, str]
    known_bad: tuple[str, ...]
    running: str
    installed: str
    shows_fix: bool

    @classmethod
    def settle(cls, settings: HostSettings, known: Distribution, situation: Situation) -> Self:
        """Settle the floor from inventory and distribution, and read which kernels are there."""
        answers, running = situation.answers, situation.facts.kernel_release
        names = answers[Question(Ask.NAMES, "/boot")].value
        found = installed(names if isinstance(names, list) else ())
        source = (
            known.kernel.auto if settings.gpu_stack_kernel_from == "auto" else settings.gpu_stack_kernel_from
        )
        own_floor, own_bad = settings.gpu_stack_kernel_floor, settings.gpu_stack_kernel_known_bad
        shows_fix = any(
            re.search(r"^cwsr_size \d", text, re.MULTILINE)
            for text in answers.texts(CWSR_PROPERTIES).values()
        )
        return cls(
            known.kernel.packages.get(source),
            known.suites[source].suite if source == "backports" and source in known.suites else None,
            {"default": own_floor} if own_floor else known.kernel.floors,
            known.kernel.known_bad if own_bad is None else tuple(own_bad),
            running,
            newest([*found, running]) or running,
            shows_fix and own_floor is None,
        )

    def accepts(self, release: str) -> bool:
        """Tell whether a release will do."""
        if is_known_bad(release, self.known_bad):
            return False
        fixed = self.shows_fix and release_key(release) >= release_key(self.running)
        return fixed or at_least(release, flavour_floor(self.floors, release))

    def _wanted(self, release: str) -> str:
        words = [f">= {flavour_floor(self.floors, release)}", *(f"not {bad}" for bad in self.known_bad)]
        return ", ".join(words)

    def item(self) -> Item:
        """Say what must be installed and running; a newer one that only waits for a reboot is no drift."""
        want: dict[str, Json] = {
            "installed": self._wanted(self.installed),
            "running": self._wanted(self.running),
        }
        return Item("gpu_stack:kernel", want, cost=Cost.REBOOT, live=("running",))

    def observe(self) -> Observed:
        """Say what is installed and running; what will do reads as what is wanted."""
        if not self.running:
            return Observed("gpu_stack:kernel", error="the running kernel's release could not be read")
        have: dict[str, Json] = {
            key: self._wanted(release) if self.accepts(release) else release
            for key, release in (("installed", self.installed), ("running", self.running))
        }
        message = "" if self.accepts(self.running) else f"the running kernel is {self.running}"
        return Observed("gpu_stack:kernel", have, message=message)

    def wishes(self) -> tuple[PackageWish, ...]:
        """Return the package to install, where the newest kernel that is installed will not do."""
        if self.package is None or not self.running or self.accepts(self.installed):
            return ()
        return (PackageWish(self.package, release=self.suite, newest=True),)
