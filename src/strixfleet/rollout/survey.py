"""What is known before a rollout begins: the pin, and each host as it is."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from strixfleet.errors import FleetError, UsageError
from strixfleet.findings.items import Status
from strixfleet.fleet.options import Options
from strixfleet.fleet.progress import say, step
from strixfleet.fleet.session import ProbedHost, load_fleet, look
from strixfleet.hosts.connections import Connections
from strixfleet.hosts.fan_out import fan_out
from strixfleet.hosts.host_program import HostAnswer
from strixfleet.inventory.load import load
from strixfleet.inventory.schema.fleet_model import Fleet, Host
from strixfleet.inventory.schema.pin import KEY, PinEdit, difference, plan_pin, rewrite
from strixfleet.managed.llama_cpp.aspect import build_for
from strixfleet.managed.llama_cpp.build import Build
from strixfleet.managed.llama_cpp.defects import refused_pin, unknown_build
from strixfleet.managed.llama_server.server_unit import drop_in_path
from strixfleet.on_host import files
from strixfleet.on_host.questions import Json
from strixfleet.rollout.refuse_busy import status_of_program
from strixfleet.rollout.step import ReportedBuilds


@dataclass(frozen=True, slots=True)
class PinnedFleet:
    """The hosts of a rollout; with --to, `options` carry the new pin, and `edits` write it down later."""

    fleet: Fleet
    options: Options
    edits: tuple[PinEdit, ...] = ()


@dataclass(frozen=True, slots=True)
class SurveyedHost:
    """A host that answered: how it was found, what its host program says, and the build that it is to run."""

    host: Host
    seen: ProbedHost
    program: HostAnswer
    want: Build

    @property
    def runs_its_pin(self) -> bool:
        """Tell whether the pinned build is current."""
        return self.seen.current_build == self.want.id


@dataclass(frozen=True, slots=True)
class RolloutSurvey:
    """The fleet before anything is changed; a host that did not answer is the error that says why."""

    pinned: PinnedFleet
    hosts: Mapping[str, SurveyedHost | FleetError]

    @property
    def fleet(self) -> Fleet:
        """Return the selected hosts."""
        return self.pinned.fleet

    @property
    def answered(self) -> dict[str, SurveyedHost]:
        """Return the hosts that answered."""
        return {name: one for name, one in self.hosts.items() if isinstance(one, SurveyedHost)}

    @property
    def programs(self) -> dict[str, HostAnswer]:
        """Return what the host programs say."""
        return {name: one.program for name, one in self.answered.items()}

    @property
    def about(self) -> dict[str, Json]:
        """Return what identifies this rollout: the inventory, the refs, and the build for each host."""
        sources: list[Json] = [str(Path(source).resolve()) for source in self.fleet.source]
        refs: list[Json] = [*sorted({one.want.ref for one in self.answered.values()})]
        want: dict[str, Json] = {name: one.want.id for name, one in self.answered.items()}
        return {"inventory": sources, "refs": refs, "want": want}

    def without(self, lost: Mapping[str, FleetError]) -> "RolloutSurvey":
        """Return the survey with hosts that answer no more."""
        return replace(self, hosts={**self.hosts, **lost})


def load_pinned(options: Options, to: str | None) -> PinnedFleet:
    """
    Load the selected hosts, pinned to `to` where it is given, and check that the pin's line can be rewritten.

    With `to` the inventory is loaded twice: as it is, for the line, and with the new pin, because templates
    may use it.
    """
    if to is None:
        return PinnedFleet(load_fleet(options), options)
    if any(KEY in text for text in options.extra_vars):
        raise UsageError(f"--to and -e {KEY} both set the pin", hint="use one of them")
    everyone = load(replace(options, limit=None).request())
    pinned = replace(options, extra_vars=(*options.extra_vars, json.dumps({KEY: to})))
    fleet = load_fleet(pinned)
    edits = plan_pin([everyone.host(host.name) for host in fleet.hosts], everyone.hosts, to)
    _rewritten(edits)
    return PinnedFleet(fleet, pinned, edits)


def survey(pinned: PinnedFleet, connections: Connections) -> RolloutSurvey:
    """Look at all hosts and ask their host programs."""
    fleet = pinned.fleet
    step(f"looking at {len(fleet.hosts)} host(s)")
    found = fan_out(fleet.hosts, lambda host: _survey_host(host, connections), forks=pinned.options.forks)
    hosts: dict[str, SurveyedHost | FleetError] = {}
    for host in fleet.hosts:
        one = found[host.name]
        hosts[host.name] = (
            one if isinstance(one, FleetError) else SurveyedHost(host, *one, wanted_build(one[0]))
        )
    return RolloutSurvey(pinned, hosts)


def _survey_host(host: Host, connections: Connections) -> tuple[ProbedHost, HostAnswer]:
    remote = connections.to(host)
    return look(host, remote), status_of_program(host, remote)


def wanted_build(seen: ProbedHost) -> Build:
    """Return the build that the inventory pins for a host."""
    build = build_for(seen.state.host.settings, seen.state.machine)
    if build is not None:
        return build
    hint = "add `llama_cpp_ref: bNNNN` to the inventory, or name a ref with --to"
    raise UsageError("no build is pinned", where=seen.state.host.name, hint=hint)


def agreed(fleet: Fleet, setting: str) -> object:
    """Return a rollout_* setting on which all hosts agree."""
    values = {getattr(host.settings, setting) for host in fleet.hosts}
    if len(values) > 1:
        shown = ", ".join(sorted(map(str, values)))
        hint = "set it in a group that contains all of them, or use the flag"
        raise UsageError(f"{setting} differs between the selected hosts: {shown}", hint=hint)
    return next(iter(values))


def agreed_lease_s(fleet: Fleet) -> float:
    """Return how long a build stays on trial when nobody renews its lease."""
    return float(str(agreed(fleet, "rollout_revert_after_s")))


def refuse_known_bad(found: RolloutSurvey) -> None:
    """Refuse a ref that was returned or rolled back on one of the hosts."""
    for name, one in found.answered.items():
        for row in one.program.refused:
            if row["ref"] == one.want.ref and not one.runs_its_pin:
                when = f"on {row['at']} ({row['reason']})"
                message = f"{one.want.ref} was returned or rolled back on this host {when}"
                raise UsageError(message, where=name, hint="use --retry to try it again")


def refuse_bad_pin(found: RolloutSurvey) -> None:
    """Refuse a pin that is known to be bad on a host that it is new to; say where that cannot be known."""
    new = {name: one for name, one in found.answered.items() if not one.runs_its_pin}
    for name, one in new.items():
        for reason in refused_pin(one.seen.differences):
            raise UsageError(reason, where=name)
    for ref in dict.fromkeys(one.want.ref for one in new.values() if one.seen.state.pinned_build is None):
        say(f"note: {unknown_build(ref)}")


def refuse_never_provisioned(found: RolloutSurvey) -> None:
    """Refuse a host with an instance that has no unit there yet: every build would fail its gate."""
    for name, one in found.answered.items():
        absent = {row.id for row in one.seen.differences if row.have is None and row.status is Status.DRIFT}
        for instance in one.host.settings.llama_server_instances:
            if f"llama_server:{drop_in_path(instance.name)}" in absent:
                message = f"instance {instance.name} was never provisioned here"
                raise UsageError(message, where=name, hint=f"run `strixfleet provision -l {name}` first")


def reported_builds(found: RolloutSurvey) -> dict[str, ReportedBuilds | None]:
    """Return the builds that each host reports, for a rollout that is resumed."""
    return {
        name: _reported(one) if isinstance(one, SurveyedHost) else None for name, one in found.hosts.items()
    }


def _reported(one: SurveyedHost) -> ReportedBuilds:
    pending = one.program.pending.get("to")
    return ReportedBuilds(one.program.current, str(pending) if pending else None, one.want.id)


def _rewritten(edits: tuple[PinEdit, ...]) -> dict[str, tuple[str, str]]:
    """Return {file: (old text, new text)}; raise UsageError where a line cannot be rewritten."""
    found = {}
    for file in dict.fromkeys(edit.file for edit in edits):
        old = Path(file).read_text(encoding="utf-8")
        found[file] = old, rewrite(old, (edit for edit in edits if edit.file == file))
    return found


def show_pin(edits: tuple[PinEdit, ...]) -> None:
    """Show as a diff how the inventory would change."""
    for file, (old, new) in _rewritten(edits).items():
        say(difference(file, old, new))


def write_pin(edits: tuple[PinEdit, ...]) -> None:
    """Write into the inventory what the hosts run now, shown as a diff."""
    for file, (old, new) in _rewritten(edits).items():
        path = Path(file)
        draft = str(path.with_name(f".{path.name}.strixfleet"))  # hidden, so that Ansible passes it over
        files.write(file, new.encode(), mode=path.stat().st_mode & 0o7777, draft=draft)
        say(difference(file, old, new))
