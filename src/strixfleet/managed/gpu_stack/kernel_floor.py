"""The kernel that a host must have installed and be running, judged with backported fixes in mind."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from strixfleet.findings.items import Cost, Cure
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.facts import KFD_NODES
from strixfleet.managed.kernel.kernel_release import (
    has_fix,
    installed,
    is_known_bad,
    newest,
    same_line_or_newer,
)
from strixfleet.managed.platforms.distributions import Distribution, apt_release, source_of
from strixfleet.managed.things.package import Package
from strixfleet.managed.things.thing import Deed, Have, Thing, unread
from strixfleet.on_host.questions import Answers, Ask, Json, Question


BOOT = Question(Ask.NAMES, "/boot")
RELEASE = Question(Ask.READ, "/proc/sys/kernel/osrelease")


def releases_in_boot(answers: Answers) -> tuple[str, ...]:
    """Return the kernel releases that could boot."""
    names = answers[BOOT].value
    return installed(names if isinstance(names, list) else ())


@dataclass(frozen=True, kw_only=True)
class KernelRelease(Thing):
    """
    A kernel not older than its flavour's floor and none of the known-bad ones; a newer one may wait to boot.

    Where `floors` are the shipped ones, a kernel whose KFD shows cwsr_size has the CWSR fix and passes
    whatever its number, and so does a newer one of its line (lemonade docs, gfx1151_linux.html). A
    vendor's kernel (`own` does not match it) is kept unless the inventory says where a kernel comes from.
    """

    package: str | None
    suite: str | None
    floors: Mapping[str, str]
    known_bad: tuple[str, ...]
    floors_are_shipped: bool
    own: str
    asked_for: bool
    label: str
    cost: Cost = Cost.REBOOT
    live: tuple[str, ...] = ("running",)

    @property
    def want(self) -> Json:
        others = ", ".join(f"{name}: {floor}" for name, floor in self.floors.items() if name != "default")
        words = [f">= {self.floors['default']}" + (f" ({others})" if others else "")]
        accepted = ", ".join([*words, *(f"not {bad}" for bad in self.known_bad)])
        return {"installed": accepted, "running": accepted}

    def asks(self) -> Iterator[Question]:
        yield from (BOOT, RELEASE, KFD_NODES)
        if self.package:
            yield Question(Ask.PACKAGE, self.package)

    def key_holds(self, key: str, have: Mapping[str, Json]) -> bool:
        release, running = str(have.get(key)), str(have.get("running"))
        if is_known_bad(release, self.known_bad):
            return False
        fixed = self.floors_are_shipped and have.get("cwsr_fix") is True
        return (fixed and same_line_or_newer(release, running)) or has_fix(release, self.floors)

    def _is_kept(self, release: Json) -> bool:
        """Tell whether it is a vendor's kernel, or a mainline build, that nobody asked to replace."""
        return not self.asked_for and not re.fullmatch(self.own, str(release))

    def _explained(self, have: dict[str, Json]) -> Have:
        release = have["installed"]
        if self.key_holds("installed", have):
            return Have(have)
        lacks = f"{release} does not have the fix of CWSR (upstream 6.18.4, ROCm #5724)"
        if is_known_bad(str(release), self.known_bad) or not self.floors_are_shipped:
            lacks = f"{release} is not accepted"
        if not self._is_kept(release):
            newer = f": `strixfleet provision` installs {self.package}" if self.package else ""
            return Have(have, message=f"{lacks}{newer}")
        kept = f"it is not a kernel of {self.label}, and is not replaced without being asked"
        cure = "take a newer one from where it came, or set gpu_stack_kernel_from"
        return Have(have, message=f"{lacks}; {kept}: {cure}", cure=Cure.MANUAL)

    def read(self, answers: Answers) -> Have:
        if error := unread(answers, (RELEASE, BOOT, KFD_NODES)):
            return Have(error=error)
        running = answers.text(RELEASE.verb, RELEASE.subject)
        if not running:
            return Have(error="the running kernel's release could not be read")
        topology = answers.texts(KFD_NODES.subject).values()
        fixed = any(re.search(r"^cwsr_size \d", text, re.MULTILINE) for text in topology)
        newest_one = newest([*releases_in_boot(answers), running])
        return self._explained({"installed": newest_one, "running": running, "cwsr_fix": fixed})

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        """Install the newest one, where the newest that is installed will not do."""
        have = self.read(answers).value
        if self.package is None or not isinstance(have, dict) or self.key_holds("installed", have):
            return
        if self._is_kept(have["installed"]):
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
        own=known.kernel.own,
        asked_for=settings.gpu_stack_kernel_from != "auto",
        label=known.label,
    )
