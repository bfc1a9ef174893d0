"""Power: tuned with one profile, no rival daemon, and what governor, firmware and GPU show of it."""

from collections.abc import Iterator
from dataclasses import dataclass

from strixfleet.findings.items import Cure, Rule
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.facts import DRM
from strixfleet.managed.machine import Machine
from strixfleet.managed.platforms.distributions import distribution
from strixfleet.managed.things.file import File, Template
from strixfleet.managed.things.package import Package
from strixfleet.managed.things.thing import Check, Deed, Have, Thing, unread
from strixfleet.managed.things.unit import Unit
from strixfleet.on_host.questions import Answers, Ask, Json, Question


ACTIVE = Question(Ask.READ, "/etc/tuned/active_profile")
RIVALS = tuple(
    Question(Ask.UNIT, f"{name}.service")
    for name in ("power-profiles-daemon", "tlp", "auto-cpufreq", "cpupower")
)
OWN_UNITS = "/etc/systemd/system/"  # of the machine's administrator: a file there is in a mask's way
FAST = ("accelerator-performance", "throughput-performance", "latency-performance", "hpc-compute")
OWN_PREFIX = "strixfleet-"  # then the profile that it wraps: another choice is another active profile
SYSTEMD = Question(Ask.NAMES, "/run/systemd/system")
CHOICES = Question(Ask.READ, "/sys/firmware/acpi/platform_profile_choices")
EFFECTS = {
    "platform_profile": Question(Ask.GLOB, "/sys/firmware/acpi/platform_profile"),
    "governor": Question(Ask.GLOB, "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"),
    "energy_performance_preference": Question(
        Ask.GLOB, "/sys/devices/system/cpu/cpu*/cpufreq/energy_performance_preference"
    ),
}
GPU_LEVEL = Question(Ask.GLOB, f"{DRM}/power_dpm_force_performance_level")
SLOW_LEVELS = ("low", "manual", "profile_min_sclk", "profile_min_mclk")  # auto and high both reach full speed
FULL = "performance"


@dataclass(frozen=True, kw_only=True)
class Effect(Thing):
    """What the machine shows of a fast profile: one value where all processors agree, none if it has none."""

    key: str
    message: str = "the tuned profile is active, but something changed this setting afterwards"

    @property
    def want(self) -> Json:
        return FULL

    def asks(self) -> Iterator[Question]:
        yield EFFECTS[self.key]
        if self.key == "platform_profile":
            yield CHOICES

    def read(self, answers: Answers) -> Have:
        """Return the value, or all values where they differ; none where the machine cannot be set so."""
        answer = answers[EFFECTS[self.key]]
        values: list[Json] = [*sorted(set(answers.texts(EFFECTS[self.key].subject).values()))]
        error = answer.error
        if self.key == "platform_profile":
            error = error or answers[CHOICES].error
            if not error and FULL not in str(answers[CHOICES].value).split():
                return Have(None)
        return Have(values[0] if len(values) == 1 else values or None, error)

    def holds(self, have: Json) -> bool:
        """Accept that there is nothing to set."""
        return have is None or have == FULL


def _rivals() -> Check:
    def running(answers: Answers) -> dict[str, str]:
        """Return the units that run, perhaps on although they were masked, or will run; and their files."""
        found = {}
        for question in RIVALS:
            row = answers[question].value
            if not isinstance(row, dict):
                continue
            if row.get("ActiveState") == "active" or row.get("UnitFileState") == "enabled":
                found[question.subject] = str(row.get("FragmentPath") or "")
        return found

    def read(answers: Answers) -> Have:
        return Have([*running(answers)], unread(answers, RIVALS))

    def stop(answers: Answers) -> Iterator[Deed]:
        for name, fragment in running(answers).items():
            yield Deed("stopped_unit", {"name": name, "masked": not fragment.startswith(OWN_UNITS)})

    return Check(
        id="tuning:rivals",
        wanted=[],
        reader=read,
        questions=RIVALS,
        message="two daemons fight over the power state",
        steps=stop,
    )


def _active_profile(profile: str, effects: tuple[Effect, ...]) -> Check:
    def read(answers: Answers) -> Have:
        return Have(answers.text(ACTIVE.verb, ACTIVE.subject) or None, answers[ACTIVE].error)

    def activate(answers: Answers) -> Iterator[Deed]:
        rows = [effect.read(answers) for effect in effects]
        off = any(row.error is None and row.value not in (FULL, None) for row in rows)
        again = off and read(answers).value == profile
        yield Deed("tuned_profile", {"name": profile, "reapply": again})

    return Check(id="tuning:profile", wanted=profile, reader=read, questions=(ACTIVE,), steps=activate)


def _gpu_level() -> Check:
    def read(answers: Answers) -> Have:
        levels = sorted(set(answers.texts(GPU_LEVEL.subject).values()))
        return Have([*levels], answers[GPU_LEVEL].error)

    return Check(
        id="tuning:gpu_performance_level",
        wanted=[*SLOW_LEVELS],
        reader=read,
        questions=(GPU_LEVEL,),
        cure=Cure.MANUAL,
        rule=Rule.NONE_OF,
        message="write `auto` to power_dpm_force_performance_level, and find out who set it",
    )


def _systemd() -> Check:
    def read(answers: Answers) -> Have:
        answer = answers[SYSTEMD]
        return Have("systemd" if answer.value is not None else None, answer.error)

    def refuse(answers: Answers) -> Iterator[Deed]:
        if read(answers) == Have(None):
            text = "this host is not run by systemd, which tuned needs; hint: set tuning_enabled to false"
            yield Deed("problem", {"text": text})

    return Check(
        id="tuning:init", wanted="systemd", reader=read, questions=(SYSTEMD,), cure=Cure.MANUAL, steps=refuse
    )


def tuning(settings: HostSettings, machine: Machine) -> Iterator[Thing]:
    """Return tuned installed, running, with the right profile, alone, in effect; nothing where it is off."""
    if not settings.tuning_enabled:
        return
    chosen, known = settings.tuning_profile, distribution(machine.os_id, machine.os_version)
    yield _systemd()
    yield Package(id="tuning:tuned", name="tuned")
    yield Unit(id="tuning:tuned.service", name="tuned.service")
    yield _rivals()
    profile = chosen
    if known and not known.tuned.sets_platform_profile and chosen in FAST:  # ours wraps it and sets that too
        profile = f"{OWN_PREFIX}{chosen}"
        path = f"{known.tuned.profiles}/{profile}/tuned.conf"
        source = Template("host/etc/tuned/strixfleet.conf.j2", {"profile": chosen})
        yield File(id=f"tuning:{path}", path=path, source=source)
    # A profile that is not one of tuned's fast ones is the operator's own business: its effect is not judged.
    effects = tuple(Effect(id=f"tuning:{key}", key=key) for key in EFFECTS) if chosen in FAST else ()
    yield _active_profile(profile, effects)
    yield from effects
    yield _gpu_level()
