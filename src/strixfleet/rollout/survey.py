"""What is known before a rollout begins: what is asked, the fleet as it is, and the pin's line."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from strixfleet.errors import FleetError, UsageError
from strixfleet.fleet.options import Options
from strixfleet.fleet.progress import say, step
from strixfleet.fleet.session import ProbedHost, load_fleet, look_at_all
from strixfleet.hosts.host_program import HostAnswer
from strixfleet.inventory.schema.fleet_model import Fleet
from strixfleet.inventory.schema.pin import KEY, PinEdit, difference, plan_pin, rewrite
from strixfleet.on_host.questions import Json
from strixfleet.rollout.planned_builds import current_build, wanted_build
from strixfleet.rollout.refuse_busy import statuses
from strixfleet.rollout.step import ReportedBuilds


CANARY_SOAK_S = 75.0  # some builds die after a minute


@dataclass(frozen=True, slots=True)
class UpgradeOptions:
    """What the operator asked for; None where the inventory or a default decides."""

    to: str | None = None
    canary: str | None = None
    batch: str | None = None
    max_failures: int | None = None
    return_upgraded: bool = False
    retry: bool = False
    soak_s: float = CANARY_SOAK_S
    yes: bool = False
    check: bool = False


@dataclass(frozen=True, slots=True)
class RolloutSurvey:
    """The fleet as it is loaded and seen, before anything is touched."""

    fleet: Fleet
    options: Options
    edits: tuple[PinEdit, ...]
    seen: Mapping[str, ProbedHost | FleetError]
    programs: Mapping[str, HostAnswer | FleetError]

    @property
    def good(self) -> dict[str, ProbedHost]:
        """Return the hosts that answered."""
        return {
            name: one
            for name, one in self.seen.items()
            if isinstance(one, ProbedHost) and not isinstance(self.programs.get(name), FleetError)
        }

    @property
    def about(self) -> dict[str, Json]:
        """Return what makes a rollout the same one: inventory, refs, and who is to run what."""
        refs: list[Json] = [*sorted({wanted_build(one).ref for one in self.good.values()})]
        sources: list[Json] = [str(Path(source).resolve()) for source in self.fleet.source]
        return {"inventory": sources, "refs": refs, "want": self.wants}

    @property
    def wants(self) -> dict[str, Json]:
        """Return the build that each host is to run."""
        return {name: wanted_build(one).id for name, one in self.good.items()}


def survey(options: Options, wish: UpgradeOptions) -> RolloutSurvey:
    """Load, check the pin's line, and look at all hosts."""
    edits: tuple[PinEdit, ...] = ()
    if wish.to is not None:
        if any(KEY in text for text in options.extra_vars):
            raise UsageError(f"--to and -e {KEY} say the same thing twice", hint="leave one out")
        everyone = load_fleet(replace(options, limit=None))
        chosen = load_fleet(options)
        edits = plan_pin(chosen.hosts, everyone.hosts, wish.to)
        _rewritten(edits)
        options = replace(options, extra_vars=(*options.extra_vars, json.dumps({KEY: wish.to})))
    fleet = load_fleet(options)
    step(f"looking at {len(fleet.hosts)} host(s)")
    seen = look_at_all(fleet, fleet.hosts, options.forks)
    answered = [host for host in fleet.hosts if isinstance(seen[host.name], ProbedHost)]
    programs = statuses(answered, fleet.known_hosts, options.forks)
    merged = {**seen, **{name: one for name, one in programs.items() if isinstance(one, FleetError)}}
    return RolloutSurvey(fleet, options, edits, merged, programs)


def _rewritten(edits: tuple[PinEdit, ...]) -> dict[str, tuple[str, str]]:
    """Return {file: (old text, new text)}; raises where a line cannot be rewritten."""
    found = {}
    for file in dict.fromkeys(edit.file for edit in edits):
        old = Path(file).read_text(encoding="utf-8")
        found[file] = old, rewrite(old, (edit for edit in edits if edit.file == file))
    return found


def refuse_known_bad(scene: RolloutSurvey) -> None:
    """Refuse a ref that one of the hosts has taken back before."""
    for name, one in scene.good.items():
        answer, ref = scene.programs[name], wanted_build(one).ref
        rows = answer.refused if isinstance(answer, HostAnswer) else ()
        for row in rows:
            if row["ref"] == ref and current_build(one) != wanted_build(one).id:
                message = f"{ref} was taken back here on {row['at']} ({row['reason']})"
                raise UsageError(message, where=name, hint="--retry tries it again")


def write_pin(edits: tuple[PinEdit, ...]) -> None:
    """Let the inventory say what the hosts run now, shown as a diff."""
    for file, (old, new) in _rewritten(edits).items():
        path = Path(file)
        draft = path.with_name(f".{path.name}.strixfleet")
        draft.write_text(new, encoding="utf-8")
        draft.chmod(path.stat().st_mode & 0o7777)
        draft.replace(path)
        say(difference(file, old, new))


def sights_of(scene: RolloutSurvey) -> dict[str, ReportedBuilds | None]:
    """Say what each host says of itself, for a rollout that is taken up again."""
    found: dict[str, ReportedBuilds | None] = {}
    for host in scene.fleet.hosts:
        answer = scene.programs.get(host.name)
        want = scene.wants.get(host.name)
        if isinstance(answer, HostAnswer) and isinstance(want, str):
            pending = answer.pending.get("to")
            found[host.name] = ReportedBuilds(answer.current, str(pending) if pending else None, want)
        else:
            found[host.name] = None
    return found
