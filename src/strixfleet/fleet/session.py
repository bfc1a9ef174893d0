"""What most verbs do: load the fleet, probe its hosts, compare them with their desired state."""

import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache

import click
from pydantic import SecretStr

from strixfleet.errors import ExitCode, FleetError
from strixfleet.findings.items import Difference, waive
from strixfleet.findings.results import HostReport, Report
from strixfleet.findings.runs import RECORDED
from strixfleet.fleet.controller_files import controller_facts
from strixfleet.fleet.host_status import LAST_GOOD
from strixfleet.fleet.options import Options
from strixfleet.fleet.progress import say
from strixfleet.hosts.fan_out import fan_out
from strixfleet.hosts.reach import ask, remote_for
from strixfleet.hosts.remote import Remote
from strixfleet.inventory.schema.fleet_model import Fleet, Host
from strixfleet.managed.compiled import DesiredState, compile_host, questions_for
from strixfleet.managed.llama_cpp.aspect import manifest_of
from strixfleet.managed.llama_cpp.build import Manifest, current_build
from strixfleet.on_host.questions import Answers, Json
from strixfleet.report.output import show


@dataclass(frozen=True, slots=True)
class ProbedHost:
    """One host as it was found: its desired state, its answers, and how they differ."""

    state: DesiredState
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
        return manifest_of(self.answers) if self.current_build else None


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
def _become_password() -> SecretStr:
    """Ask for sudo's password, once per run."""
    return SecretStr(click.prompt("BECOME password", hide_input=True, err=True))


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
    controller = controller_facts(host.settings)
    answers = ask(remote, host, questions_for(host) | {LAST_GOOD})
    state = compile_host(host, answers, controller)
    rows = waive(state.differences(answers), host.settings.audit_waivers, now().date())
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


def conclude(report: Report, options: Options, *, everything: bool = False) -> ExitCode:
    """Show a report as the flags say, and return its exit code."""
    show(report, as_json=options.as_json, output=options.output, everything=everything)
    return report.exit_code


def remember(report: Report) -> None:
    """Record a run in the history; a history that cannot be written does not fail the run."""
    if report.verb not in RECORDED:
        return
    from strixfleet.findings.run_store import History, history_path

    try:
        History(history_path()).record(report)
    except FleetError as error:
        say(f"warning: this run is not recorded: {error}")
