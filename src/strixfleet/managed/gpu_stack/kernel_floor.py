"""The kernel that a host must have installed and be running, judged with backported fixes in mind."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from strixfleet.findings.items import Cost
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.kernel.kernel_release import (
    at_least,
    flavour_floor,
    installed,
    is_known_bad,
    newest,
    release_key,
)
from strixfleet.managed.platforms.distributions import Distribution, apt_release, source_of
from strixfleet.managed.things.package import Package
from strixfleet.managed.things.thing import Deed, Have, Thing, unread
from strixfleet.on_host.questions import Answers, Ask, Json, Question


BOOT = Question(Ask.NAMES, "/boot")
RELEASE = Question(Ask.READ, "/proc/sys/kernel/osrelease")
CWSR_PROPERTIES = Question(Ask.GLOB, "/sys/class/kfd/kfd/topology/nodes/*/properties")


def releases_in_boot(answers: Answers) -> tuple[str, ...]:
    """Return the kernel releases that could boot."""
    names = answers[BOOT].value
    return installed(names if isinstance(names, list) else ())


@dataclass(frozen=True, kw_only=True)
class KernelRelease(Thing):
    """
    A kernel not older than its flavour's floor and none of the known-bad ones; a newer one may wait to boot.

    Where `floors` are the shipped ones, a kernel whose KFD shows cwsr_size has the CWSR fix and passes
    whatever its number, and so does any newer one (lemonade docs, gfx1151_linux.html).
    """

    package: str | None
    suite: str | None
    floors: Mapping[str, str]
    known_bad: tuple[str, ...]
    floors_are_shipped: bool
    cost: Cost = Cost.REBOOT
    live: tuple[str, ...] = ("running",)

    @property
    def want(self) -> Json:
        others = ", ".join(f"{name}: {floor}" for name, floor in self.floors.items() if name != "default")
        words = [f">= {self.floors['default']}" + (f" ({others})" if others else "")]
        accepted = ", ".join([*words, *(f"not {bad}" for bad in self.known_bad)])
        return {"installed": accepted, "running": accepted}

    def asks(self) -> Iterator[Question]:
        yield from (BOOT, RELEASE, CWSR_PROPERTIES)
        if self.package:
            yield Question(Ask.PACKAGE, self.package)

    def key_holds(self, key: str, have: Mapping[str, Json]) -> bool:
        release, running = str(have.get(key)), str(have.get("running"))
        if is_known_bad(release, self.known_bad):
            return False
        fixed = self.floors_are_shipped and have.get("cwsr_fix") is True
        newer = release_key(release) >= release_key(running)
        return (fixed and newer) or at_least(release, flavour_floor(self.floors, release))

    def read(self, answers: Answers) -> Have:
        if error := unread(answers, (RELEASE, BOOT, CWSR_PROPERTIES)):
            return Have(error=error)
        running = answers.text(RELEASE.verb, RELEASE.subject)
        if not running:
            return Have(error="the running kernel's release could not be read")
        topology = answers.texts(CWSR_PROPERTIES.subject).values()
        fixed = any(re.search(r"^cwsr_size \d", text, re.MULTILINE) for text in topology)
        newest_one = newest([*releases_in_boot(answers), running])
        return Have({"installed": newest_one, "running": running, "cwsr_fix": fixed})

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        """Install the newest one, where the newest that is installed will not do."""
        have = self.read(answers).value
        if self.package is None or not isinstance(have, dict) or self.key_holds("installed", have):
            return
        wish = Package(id=self.id, name=self.package, release=self.suite, newest=True)
        yield from wish.deeds(answers)


def kernel_release(settings: HostSettings, known: Distribution) -> KernelRelease:
    """Settle package and floors from inventory and distribution."""
    source = source_of(settings.gpu_stack_kernel_from, known.kernel.auto)
    floor, bad = settings.gpu_stack_kernel_floor, settings.gpu_stack_kernel_known_bad
    return KernelRelease(
        id="gpu_stack:kernel",
        package=known.kernel.packages.get(source),
        suite=apt_release(known, source) if source in known.suites else None,
        floors={"default": floor} if floor else known.kernel.floors,
        known_bad=known.kernel.known_bad if bad is None else tuple(bad),
        floors_are_shipped=floor is None,
    )
