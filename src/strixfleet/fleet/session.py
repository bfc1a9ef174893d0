"""What most verbs do: load the fleet, probe its hosts, compare them with their desired state."""

import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache

import click

from strixfleet.errors import FleetError
from strixfleet.findings.items import Difference, Excuse, waive
from strixfleet.findings.results import HostReport, Report
from strixfleet.findings.runs import RECORDED
from strixfleet.fleet.host_status import LAST_GOOD
from strixfleet.fleet.options import Options
from strixfleet.fleet.progress import say
from strixfleet.hosts.fabric_remote import ask, remote_for
from strixfleet.hosts.fan_out import fan_out
from strixfleet.hosts.openssh_remote import Remote
from strixfleet.inventory.schema.fleet_model import Fleet, Host, Password
from strixfleet.managed.aspect import HostState
from strixfleet.managed.compiled import compile_host, questions_for
from strixfleet.managed.llama_cpp.aspect import MANIFEST, current_build
from strixfleet.managed.llama_cpp.build import Manifest, parse_manifest
from strixfleet.on_host.questions import Answers, Json


@dataclass(frozen=True, slots=True)
class ProbedHost:
    """One host as it was found: its desired state, its answers, and how they differ."""

    state: HostState
    answers: Answers
    differences: tuple[Difference, ...]
    seconds: float

    @property
    def current_build(self) -> str | None:
        """Return the id of the build that is current there."""
        return current_build(self.answers)

    @property
    def current_manifest(self) -> Manifest | None:
        """Return the manifest of the current build; None where it cannot be read."""
        if self.current_build is None:
            return None
        return parse_manifest(self.answers.text(MANIFEST.verb, MANIFEST.subject))


def load_fleet(options: Options) -> Fleet:
    """Load and check the inventory; print its warnings."""
    from strixfleet.inventory.load import load

    fleet = load(options.request())
    for warning in fleet.warnings:
        say(f"warning: {warning}")
    if not options.ask_become_pass:
        return fleet
    password = _become_password()
    hosts = (
        replace(host, connection=replace(host.connection, become_password=password)) for host in fleet.hosts
    )
    return replace(fleet, hosts=tuple(hosts))


@lru_cache(maxsize=1)
def _become_password() -> Password:
    """Ask for sudo's password, once per run."""
    return Password(click.prompt("BECOME password", hide_input=True, err=True))


def said_yes(question: str) -> bool:
    """Ask the operator; where nobody can answer, the answer is no."""
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        say("")
        return False


def look(host: Host, remote: Remote) -> ProbedHost:
    """Probe one host and compare it with its desired state, in one round trip."""
    started = time.monotonic()
    answers = ask(remote, host, questions_for(host) | {LAST_GOOD})
    state = compile_host(host, answers)
    excuses = (Excuse(waiver.item, waiver.reason, waiver.expires) for waiver in host.settings.audit_waivers)
    rows = waive(state.differences(answers), excuses, now().date())
    return ProbedHost(state, answers, rows, time.monotonic() - started)


def look_at_all(fleet: Fleet, hosts: Iterable[Host], forks: int) -> dict[str, ProbedHost | FleetError]:
    """Probe many hosts at once, each over a connection of its own; a failure is a value."""

    def look_once(host: Host) -> ProbedHost:
        with closing(remote_for(host, fleet.known_hosts)) as remote:
            return look(host, remote)

    return fan_out(hosts, look_once, forks=forks)


def host_report(name: str, seen: ProbedHost | FleetError) -> HostReport:
    """Return the report of one host, for every output format."""
    if isinstance(seen, FleetError):
        return HostReport.of_error(name, seen)
    return HostReport(
        name,
        reachable=True,
        simulated=seen.state.facts.simulated,
        seconds=seen.seconds,
        items=seen.differences,
        extra={"since_applied": seen.state.since_applied},
    )


def with_extra(report: HostReport, extra: Mapping[str, Json]) -> HostReport:
    """Add a verb's own keys to a host's report."""
    return replace(report, extra={**report.extra, **extra})


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def finish(verb: str, started: datetime, hosts: Iterable[HostReport]) -> Report:
    """Close a report and keep it in the history."""
    report = Report(verb, tuple(hosts), started, now())
    remember(report)
    return report


def remember(report: Report) -> None:
    """Record a run in the history; a history that cannot be written does not fail the run."""
    if report.verb not in RECORDED:
        return
    from strixfleet.findings.run_store import History, history_path

    try:
        History(history_path()).record(report)
    except FleetError as error:
        say(f"warning: this run is not recorded: {error}")
