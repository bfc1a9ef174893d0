"""Stage a build on many hosts in one play, and check that it understands the options of their servers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import click

from strixfleet.errors import FleetError, HostError
from strixfleet.fleet.plays import play_on
from strixfleet.fleet.progress import say
from strixfleet.hosts.connections import Connections
from strixfleet.hosts.fan_out import fan_out
from strixfleet.hosts.host_program import HostProgram
from strixfleet.managed.llama_cpp.build import other_backend
from strixfleet.managed.llama_server.server_options import OptionCheck, check_options
from strixfleet.managed.llama_server.server_unit import unit_name
from strixfleet.rollout.gate_watch import Watch
from strixfleet.rollout.host_notes import RenamedOption
from strixfleet.rollout.rollout_state import Event, EventKind
from strixfleet.rollout.survey import RolloutSurvey, SurveyedHost
from strixfleet.speed.measure.remote_bench import Bench
from strixfleet.tools.ansible_playbook import HostOutcome, PlayStatus


Checks = Mapping[str, OptionCheck]  # by instance
Events = dict[str, Event]
OPTIONS_TIMEOUT_S = 90.0


def _agree(_rows: Sequence[str]) -> bool:
    return True


def _ignore(_host: str, **_facts: object) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Stage:
    """
    Staging for one rollout.

    `token` returns a host's token of the fleet lock. `agree` is asked once, for all hosts, whether the new
    build is given options by their new names. `note` keeps facts for the report. `accept_defects` makes
    builds that are known to be bad, too: `bisect` looks for them.
    """

    survey: RolloutSurvey
    connections: Connections
    token: Callable[[str], int | None]
    agree: Callable[[Sequence[str]], bool] = _agree
    note: Callable[..., None] = _ignore
    diff: bool = False
    accept_defects: bool = False

    def __call__(self, names: Sequence[str]) -> Events:
        """Build on all hosts that need it, and return what came of each."""
        events: Events = {}
        chosen: dict[str, SurveyedHost] = {}
        for name in names:
            one = self.survey.hosts[name]
            if isinstance(one, FleetError):
                events[name] = Event(EventKind.LOST, name, one.message)
            elif one.runs_its_pin:
                events[name] = Event(EventKind.UNCHANGED, name)
            elif other := other_backend(one.seen.current_manifest, one.want):
                events[name] = Event(EventKind.STAGE_FAILED, name, other)
            else:
                chosen[name] = one
        if not chosen:
            return events
        outcomes = self._play(chosen)
        events |= {name: _event(name, outcomes.get(name)) for name in chosen}
        built = {name: chosen[name] for name, event in events.items() if event.kind is EventKind.STAGED}
        hosts = [one.host for one in built.values()]
        checks = fan_out(hosts, lambda host: self._check(built[host.name]))
        return events | self._settle(checks, built)

    def _play(self, chosen: Mapping[str, SurveyedHost]) -> dict[str, HostOutcome]:
        seen = {name: one.seen for name, one in chosen.items()}
        pinned = self.survey.pinned
        variables = {"strixfleet_hosts": "all"}  # within the limit: the survey has chosen them
        if self.accept_defects:
            variables["strixfleet_known_defects"] = "accept"
        return play_on(
            seen,
            "stage.yml",
            pinned.fleet,
            pinned.options,
            self.connections,
            variables=variables,
            diff=self.diff,
        )

    def _check(self, one: SurveyedHost) -> dict[str, OptionCheck]:
        """Ask the staged build whether it understands the options of the servers that run now."""
        host, remote = one.host, self.connections.to(one.host)
        names = [instance.name for instance in host.settings.llama_server_instances]
        looked = Bench(host, remote).look(names, [], 0.0)
        watch = Watch(host, self.survey.fleet.known_hosts)
        said = watch.ask(remote, "options", OPTIONS_TIMEOUT_S, build=one.want.id)
        checks = {}
        for name in names:
            checks[name] = check_options(
                [*looked.server(name).argv], said["variables"].get(unit_name(name), []), str(said["help"])
            )
        return checks

    def _settle(self, checks: Mapping[str, Checks | FleetError], built: Mapping[str, SurveyedHost]) -> Events:
        """Stop hosts whose servers would not start; ask once whether the others may use the new names."""
        events: Events = {}
        to_ask: dict[str, Checks] = {}
        to_write: dict[str, Checks] = {}
        for name, found in checks.items():
            if isinstance(found, FleetError):
                events[name] = _failed(name, found)
            elif any(one.problems for one in found.values()):
                events[name] = _refused(name, found)
            elif any(one.renames for one in found.values()):
                to_ask[name] = found
            elif any(one.addresses for one in found.values()):
                to_write[name] = found
        if to_ask and not self.agree(
            [row for name, found in to_ask.items() for row in _proposal(name, found)]
        ):
            events |= {name: _refused(name, found) for name, found in to_ask.items()}
        else:
            to_write |= to_ask
        hosts = [built[name].host for name in to_write]
        written = fan_out(hosts, lambda host: self._spell(built[host.name], to_write[host.name]))
        return events | {
            name: _failed(name, one) for name, one in written.items() if isinstance(one, FleetError)
        }

    def _spell(self, one: SurveyedHost, checks: Checks) -> None:
        """Let the host write the new names beside the staged build; nothing that runs changes."""
        name = one.host.name
        program = HostProgram(name, self.connections.to(one.host), self.token(name))
        program.must("spell", one.want.id, timeout_s=OPTIONS_TIMEOUT_S)
        renamed = tuple(
            RenamedOption(instance, old, new)
            for instance, check in checks.items()
            for old, new in check.renames.items()
        )
        if renamed:
            self.note(name, renamed=renamed)


def consent(*, yes: bool) -> Callable[[Sequence[str]], bool]:
    """Return who is asked whether the new build is given options by their new names."""

    def ask(rows: Sequence[str]) -> bool:
        say("The new llama-server renamed these options (your inventory is not changed):")
        for row in rows:
            say(f"  {row}")
        try:
            return yes or click.confirm("Use the renamed options for the new build?", err=True)
        except click.Abort:  # nobody can answer
            return False

    return ask


def _proposal(name: str, checks: Checks) -> list[str]:
    return [
        f"{name}: {instance}: {old} → {new}"
        for instance, one in checks.items()
        for old, new in one.renames.items()
    ]


def _refused(name: str, checks: Checks) -> Event:
    rows = [f"{instance}: {row}" for instance, one in checks.items() for row in one.rows]
    return Event(EventKind.STAGE_FAILED, name, f"the new llama-server does not understand {'; '.join(rows)}")


def _event(name: str, outcome: HostOutcome | None) -> Event:
    if outcome is None:
        return Event(EventKind.STAGE_FAILED, name, "the stage play did not reach this host")
    if outcome.status is PlayStatus.UNREACHABLE:
        return Event(EventKind.LOST, name, outcome.message)
    if outcome.status is PlayStatus.FAILED:
        return Event(EventKind.STAGE_FAILED, name, f"{outcome.failed_task}: {outcome.message}")
    return Event(EventKind.STAGED, name)


def _failed(name: str, error: FleetError) -> Event:
    kind = EventKind.LOST if isinstance(error, HostError) else EventKind.STAGE_FAILED
    return Event(kind, name, error.message)
