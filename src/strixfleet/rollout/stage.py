"""Stages a build on many hosts in one play, and holds their servers' options against it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import click

from strixfleet.errors import FleetError, HostError
from strixfleet.fleet.build_watch import BuildWatch
from strixfleet.fleet.options import Options
from strixfleet.fleet.play_progress import PlayProgress
from strixfleet.fleet.progress import say
from strixfleet.fleet.session import ProbedHost
from strixfleet.hosts.fan_out import fan_out
from strixfleet.hosts.host_program import HostProgram
from strixfleet.hosts.reach import remote_for
from strixfleet.inventory.schema.fleet_model import Fleet, Host
from strixfleet.managed.llama_cpp.build import other_backend
from strixfleet.managed.llama_server.server_options import OptionCheck, check_options
from strixfleet.managed.llama_server.server_unit import unit_name
from strixfleet.on_host.questions import Json
from strixfleet.rollout.gate_watch import Watch
from strixfleet.rollout.planned_builds import current_build, current_manifest, wanted_build
from strixfleet.rollout.rollout_state import Event, EventKind
from strixfleet.speed.measure.remote_bench import Bench
from strixfleet.tools.ansible_playbook import HostOutcome, PlayRequest, PlayStatus, play


Checks = Mapping[str, OptionCheck]  # by instance
Events = dict[str, Event]
OPTIONS_TIMEOUT_S = 90.0


@dataclass(frozen=True, slots=True)
class Stage:
    """
    Staging for one rollout; `options` are those that the inventory was loaded with, the pin among them.

    `token` gives a host's token of the fleet lock. `agree` is shown, once for all hosts, what the new build
    would be told otherwise than the inventory says.
    """

    fleet: Fleet
    seen: Mapping[str, ProbedHost | FleetError]
    options: Options
    token: Callable[[str], int | None]
    agree: Callable[[Sequence[str]], bool] = lambda _rows: True
    note: Callable[..., None] = lambda *_given, **_facts: None

    def __call__(self, names: Sequence[str]) -> dict[str, Event]:
        """Build on all hosts that need it; give what came of each."""
        events: Events = {}
        chosen: dict[str, ProbedHost] = {}
        for name in names:
            one = self.seen[name]
            if isinstance(one, FleetError):
                events[name] = Event(EventKind.LOST, name, one.message)
            elif current_build(one) == wanted_build(one).id:
                events[name] = Event(EventKind.UNCHANGED, name)
            elif other := other_backend(current_manifest(one), wanted_build(one)):
                events[name] = Event(EventKind.STAGE_FAILED, name, other)
            else:
                chosen[name] = one
        if not chosen:
            return events
        outcomes = self._play(chosen)
        events |= {name: _event(name, outcomes.get(name)) for name in chosen}
        built = [self.fleet.host(name) for name, event in events.items() if event.kind is EventKind.STAGED]
        checks = fan_out(built, lambda host: self._check(host, chosen[host.name]))
        return events | self._settle(checks, chosen)

    def _play(self, chosen: Mapping[str, ProbedHost]) -> dict[str, HostOutcome]:
        options = self.options
        become = next((host.connection.become_password for host in self.fleet.hosts), None)
        request = PlayRequest(
            "stage.yml",
            self.fleet.source,
            ",".join(chosen),
            self.fleet.known_hosts,
            extra_vars=options.extra_vars,
            forks=options.forks,
            verbose=options.verbose,
            become_password=become.get_secret_value() if become and options.ask_become_pass else None,
            vault_password_files=options.vault_password_file,
            ask_vault_pass=options.ask_vault_pass,
        )
        return play(request, BuildWatch(self.fleet, dict(chosen), PlayProgress(verbose=options.verbose)))

    def _check(self, host: Host, seen: ProbedHost) -> dict[str, OptionCheck]:
        """Ask the staged build whether it understands the options of the servers that run now."""
        remote = remote_for(host, self.fleet.known_hosts)
        try:
            names = [one.name for one in host.settings.llama_server_instances]
            looked = Bench(host, remote).look(names, [], 0.0)
            watch = Watch(host, self.fleet.known_hosts)
            said = watch.ask(remote, "options", OPTIONS_TIMEOUT_S, build=wanted_build(seen).id)
        finally:
            remote.close()
        checks = {}
        for name in names:
            checks[name] = check_options(
                [*looked.server(name).argv], said["variables"].get(unit_name(name), []), str(said["help"])
            )
        return checks

    def _settle(self, checks: Mapping[str, Checks | FleetError], chosen: Mapping[str, ProbedHost]) -> Events:
        """Stop hosts whose servers would not start; ask once whether the others may be told otherwise."""
        events: Events = {}
        due: dict[str, Checks] = {}
        told: dict[str, Checks] = {}
        for name, found in checks.items():
            if isinstance(found, FleetError):
                events[name] = _failed(name, found)
            elif any(one.problems for one in found.values()):
                events[name] = _refused(name, found)
            elif any(one.renames for one in found.values()):
                due[name] = found
            elif any(one.addresses for one in found.values()):
                told[name] = found
        if due and not self.agree([row for name, found in due.items() for row in _proposal(name, found)]):
            events |= {name: _refused(name, found) for name, found in due.items()}
        else:
            told |= due
        hosts = [self.fleet.host(name) for name in told]
        spelled = fan_out(hosts, lambda host: self._spell(host, chosen[host.name], told[host.name]))
        return events | {
            name: _failed(name, one) for name, one in spelled.items() if isinstance(one, FleetError)
        }

    def _spell(self, host: Host, seen: ProbedHost, checks: Checks) -> None:
        """Have the host write beside the staged build what that one calls them; nothing that runs changes."""
        remote = remote_for(host, self.fleet.known_hosts)
        try:
            program = HostProgram(host.name, remote, self.token(host.name))
            program.must("spell", wanted_build(seen).id, timeout_s=OPTIONS_TIMEOUT_S)
        finally:
            remote.close()
        rows: list[Json] = [
            [name, old, new] for name, one in checks.items() for old, new in one.renames.items()
        ]
        if rows:
            self.note(host.name, renamed=rows)


def consent(*, yes: bool) -> Callable[[Sequence[str]], bool]:
    """Return who is asked whether options may be told to the new build in its own spelling."""

    def ask(rows: Sequence[str]) -> bool:
        say("the new llama-server spells options differently; the inventory and the old build keep theirs:")
        for row in rows:
            say(f"  {row}")
        try:
            return yes or click.confirm("Spell them so for the new build?", err=True)
        except click.Abort:  # nobody is there
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
        return Event(EventKind.STAGE_FAILED, name, "the play did not reach it")
    if outcome.status is PlayStatus.UNREACHABLE:
        return Event(EventKind.LOST, name, outcome.message)
    if outcome.status is PlayStatus.FAILED:
        return Event(EventKind.STAGE_FAILED, name, f"{outcome.failed_task}: {outcome.message}")
    return Event(EventKind.STAGED, name)


def _failed(name: str, error: FleetError) -> Event:
    return Event(
        EventKind.LOST if isinstance(error, HostError) else EventKind.STAGE_FAILED, name, error.message
    )
