"""Stages a build on many hosts in one play, and holds their servers' options against it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from strixfleet.adapters.ansible import HostOutcome, PlayRequest, PlayStatus, play
from strixfleet.adapters.bench import Bench
from strixfleet.adapters.fanout import fan_out
from strixfleet.adapters.ssh import remote_for
from strixfleet.adapters.watch import Watch
from strixfleet.commands.build_watch import BuildWatch
from strixfleet.commands.options import Options
from strixfleet.commands.rollout_plan import current_build, wanted_build
from strixfleet.commands.session import Seen
from strixfleet.core.bench_state import map_at
from strixfleet.core.fleet import Fleet, Host
from strixfleet.core.rollout_state import Event, Kind
from strixfleet.core.server_options import unknown_options
from strixfleet.errors import FleetError, HostError
from strixfleet.report.play_progress import PlayProgress


@dataclass(frozen=True, slots=True)
class Stage:
    """Staging for one rollout; `options` are those that the inventory was loaded with, the pin among them."""

    fleet: Fleet
    seen: Mapping[str, Seen | FleetError]
    options: Options

    def __call__(self, names: Sequence[str]) -> dict[str, Event]:
        """Build on all hosts that need it; give what came of each."""
        events: dict[str, Event] = {}
        chosen: dict[str, Seen] = {}
        for name in names:
            one = self.seen[name]
            if isinstance(one, FleetError):
                events[name] = Event(Kind.LOST, name, one.message)
            elif current_build(one) == wanted_build(one).id:
                events[name] = Event(Kind.UNCHANGED, name)
            else:
                chosen[name] = one
        if not chosen:
            return events
        outcomes = self._play(chosen)
        events |= {name: _event(name, outcomes.get(name)) for name in chosen}
        built = [self.fleet.host(name) for name, event in events.items() if event.kind is Kind.STAGED]
        for name, found in fan_out(built, lambda host: self._check_options(host, chosen[host.name])).items():
            events[name] = _failed(name, found) if isinstance(found, FleetError) else found
        return events

    def _play(self, chosen: Mapping[str, Seen]) -> dict[str, HostOutcome]:
        options = self.options
        become = next((host.connection.become_password for host in self.fleet.hosts), None)
        vault = [part for file in options.vault_password_file for part in ("--vault-password-file", file)]
        request = PlayRequest(
            "stage.yml",
            self.fleet.source,
            ",".join(chosen),
            self.fleet.known_hosts,
            extra_vars=options.extra_vars,
            forks=options.forks,
            verbose=options.verbose,
            become_password=become.reveal() if become and options.ask_become_pass else None,
            vault_arguments=(*vault, *(["--ask-vault-pass"] if options.ask_vault_pass else [])),
        )
        return play(request, BuildWatch(self.fleet, dict(chosen), PlayProgress(verbose=options.verbose)))

    def _check_options(self, host: Host, seen: Seen) -> Event:
        """Ask the staged build whether it understands the options of the servers that run now."""
        remote = remote_for(host, self.fleet.known_hosts)
        try:
            names = [one.name for one in host.settings.llama_server_instances]
            looked = Bench(host, remote).look(names, [], 0.0)
            watch = Watch(host, self.fleet.known_hosts)
            text = str(watch.ask(remote, "options", 90.0, build=wanted_build(seen).id)["help"])
        finally:
            remote.close()
        problems = []
        for name in names:
            argv = map_at(looked, "instances", name).get("argv")
            words = [str(word) for word in argv] if isinstance(argv, list) else []
            problems += [f"{name}: {row}" for row in unknown_options(words, text)]
        if problems:
            reason = f"the new llama-server does not understand {'; '.join(problems)}"
            return Event(Kind.STAGE_FAILED, host.name, reason)
        return Event(Kind.STAGED, host.name)


def _event(name: str, outcome: HostOutcome | None) -> Event:
    if outcome is None:
        return Event(Kind.STAGE_FAILED, name, "the play did not reach it")
    if outcome.status is PlayStatus.UNREACHABLE:
        return Event(Kind.LOST, name, outcome.message)
    if outcome.status is PlayStatus.FAILED:
        return Event(Kind.STAGE_FAILED, name, f"{outcome.failed_task}: {outcome.message}")
    return Event(Kind.STAGED, name)


def _failed(name: str, error: FleetError) -> Event:
    return Event(Kind.LOST if isinstance(error, HostError) else Kind.STAGE_FAILED, name, error.message)
