"""Power: tuned with one profile, no rival daemon, and what governor, firmware and GPU show of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

from strixfleet import assets
from strixfleet.findings.items import Cure, Item, Observed, Rule
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.managed.aspect import Situation
from strixfleet.managed.facts import DRM
from strixfleet.managed.platforms.distributions import distribution
from strixfleet.managed.things.file import ManagedFile
from strixfleet.managed.things.package import PackageWish
from strixfleet.on_host.questions import Answers, Ask, Json, Question


ACTIVE = "/etc/tuned/active_profile"
UNIT = "tuned.service"
RIVALS = ("power-profiles-daemon.service", "tlp.service", "auto-cpufreq.service", "cpupower.service")
OWN_UNITS = "/etc/systemd/system/"  # of the machine's administrator: a file there is in a mask's way
FAST = ("accelerator-performance", "throughput-performance", "latency-performance", "hpc-compute")
OWN_PREFIX = "strixfleet-"  # then the profile that it wraps: another choice is another active profile
PACKAGE = PackageWish("tuned")
PLATFORM = "/sys/firmware/acpi/platform_profile"
CHOICES = "/sys/firmware/acpi/platform_profile_choices"
GOVERNORS = "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
PREFERENCES = "/sys/devices/system/cpu/cpu*/cpufreq/energy_performance_preference"
GPU_LEVEL = f"{DRM}/power_dpm_force_performance_level"
VARIABLES = (
    "tuning_packages",
    "tuning_files",
    "tuning_rivals",
    "tuning_masked",
    "tuning_units",
    "tuning_profiles",
)
SLOW_LEVELS = ("low", "manual", "profile_min_sclk", "profile_min_mclk")  # auto and high both reach full speed


@dataclass(frozen=True, slots=True)
class Tuning:
    """
    The power state of one host; `effects` are what a fast profile must show where the machine has it.

    A profile that is not one of `FAST` is the operator's own business: only that it is active is judged.
    """

    enabled: bool
    profile: str
    file: ManagedFile | None
    effects: tuple[str, ...]
    reapply: bool
    rivals: tuple[str, ...]
    maskable: tuple[str, ...]

    name: ClassVar[str] = "tuning"

    @classmethod
    def questions(cls, host: Host) -> Iterator[Question]:
        """Ask for the daemon, its rivals and the live state."""
        if not host.settings.tuning_enabled:
            return
        yield PACKAGE.question()
        yield Question(Ask.READ, ACTIVE)
        for unit in (UNIT, *RIVALS):
            yield Question(Ask.UNIT, unit)
        yield Question(Ask.READ, PLATFORM)
        yield Question(Ask.READ, CHOICES)
        for pattern in (GOVERNORS, PREFERENCES, GPU_LEVEL):
            yield Question(Ask.GLOB, pattern)
        for folder in ("/etc/tuned", "/etc/tuned/profiles"):
            yield Question(Ask.DIGEST, _own_path(folder, host.settings.tuning_profile))

    @classmethod
    def compile(cls, situation: Situation) -> Self:
        """Settle the profile; one of ours wraps the chosen one where that leaves the firmware alone."""
        settings, facts, answers = situation.host.settings, situation.facts, situation.answers
        chosen, known = settings.tuning_profile, distribution(facts.os_id, facts.os_version)
        wrap = known is not None and not known.tuned.sets_platform_profile and chosen in FAST
        file = None
        if wrap and known is not None:
            content = assets.render("host/etc/tuned/strixfleet.conf.j2", profile=chosen)
            file = ManagedFile(_own_path(known.tuned.profiles, chosen), content)
        effects = _effects(answers) if chosen in FAST else {}
        wanted = f"{OWN_PREFIX}{chosen}" if wrap else chosen
        active = answers.text(Ask.READ, ACTIVE) == wanted
        rivals = tuple(unit for unit in RIVALS if _is_rival(answers, unit))
        return cls(
            settings.tuning_enabled,
            wanted,
            file,
            tuple(effects),
            active and any(one.error is None and one.have != "performance" for one in effects.values()),
            rivals,
            tuple(unit for unit in rivals if not _fragment(answers, unit).startswith(OWN_UNITS)),
        )

    def items(self) -> Iterator[Item]:
        """Installed, running, the right profile, alone, and in effect."""
        if not self.enabled:
            return
        yield from PACKAGE.items(self.name)
        want: dict[str, Json] = {"active": "active", "enabled": "enabled"}
        yield Item(f"tuning:{UNIT}", want)
        yield Item("tuning:rivals", [], message="two daemons fight over the power state")
        if self.file:
            yield self.file.item(self.name)
        yield Item("tuning:profile", self.profile)
        for key in self.effects:
            yield Item(f"tuning:{key}", "performance", message="tuned is not obeyed, or was overridden")
        yield Item(
            "tuning:gpu_performance_level",
            list(SLOW_LEVELS),
            Cure.MANUAL,
            rule=Rule.NONE_OF,
            message="write `auto` to power_dpm_force_performance_level, and find out who set it",
        )

    def observe(self, answers: Answers) -> Iterator[Observed]:
        """Read the daemon, its rivals and the live state."""
        yield from PACKAGE.observe(self.name, answers)
        unit = answers[Question(Ask.UNIT, UNIT)]
        yield Observed(f"tuning:{UNIT}", _state(answers, UNIT), unit.error)
        yield Observed("tuning:rivals", list(self.rivals), unit.error)
        if self.file:
            yield self.file.observe(self.name, answers)
        active = answers[Question(Ask.READ, ACTIVE)]
        yield Observed("tuning:profile", answers.text(Ask.READ, ACTIVE) or None, active.error)
        yield from _effects(answers).values()
        levels = answers[Question(Ask.GLOB, GPU_LEVEL)]
        found = sorted(set(answers.texts(GPU_LEVEL).values()))
        yield Observed("tuning:gpu_performance_level", list(found), levels.error)

    def role_vars(self) -> dict[str, Json]:
        """Return the role its profile and what to make of it; nothing where tuning is off."""
        if not self.enabled:
            return {key: [] for key in VARIABLES}
        return {
            "tuning_packages": [PACKAGE.role_var()],
            "tuning_files": [self.file.role_var()] if self.file else [],
            "tuning_rivals": list(self.rivals),
            "tuning_masked": list(self.maskable),
            "tuning_units": [UNIT],
            "tuning_profiles": [{"name": self.profile, "reapply": self.reapply}],
        }


def _own_path(profiles: str, chosen: str) -> str:
    return f"{profiles}/{OWN_PREFIX}{chosen}/tuned.conf"


def _state(answers: Answers, unit: str) -> Json:
    value = answers[Question(Ask.UNIT, unit)].value
    if not isinstance(value, dict) or value.get("LoadState") != "loaded":
        return None
    return {"active": value.get("ActiveState"), "enabled": value.get("UnitFileState")}


def _is_rival(answers: Answers, unit: str) -> bool:
    """Tell whether a unit runs, perhaps on although it was masked, or will."""
    value = answers[Question(Ask.UNIT, unit)].value
    return isinstance(value, dict) and (
        value.get("ActiveState") == "active" or value.get("UnitFileState") == "enabled"
    )


def _fragment(answers: Answers, unit: str) -> str:
    value = answers[Question(Ask.UNIT, unit)].value
    return str(value.get("FragmentPath") or "") if isinstance(value, dict) else ""


def _effects(answers: Answers) -> dict[str, Observed]:
    """Return what the machine shows of the power state, one value where all processors agree; or why not."""
    found = {}
    choices = answers[Question(Ask.READ, CHOICES)]
    if choices.error or "performance" in str(choices.value).split():
        platform = answers[Question(Ask.READ, PLATFORM)]
        error = choices.error or platform.error
        key = "platform_profile"
        found[key] = Observed(f"tuning:{key}", answers.text(Ask.READ, PLATFORM), error)
    for key, pattern in (("governor", GOVERNORS), ("energy_performance_preference", PREFERENCES)):
        values: list[Json] = [*sorted(set(answers.texts(pattern).values()))]
        error = answers[Question(Ask.GLOB, pattern)].error
        if values or error:
            found[key] = Observed(f"tuning:{key}", values[0] if len(values) == 1 else values, error)
    return found
