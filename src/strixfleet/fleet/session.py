"""What verbs do alike: load the fleet, probe it, hold it against its desired state."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache

import click
from pydantic import SecretStr

from strixfleet.errors import FleetError
from strixfleet.findings.items import Difference, waive
from strixfleet.findings.results import HostReport, Report
from strixfleet.findings.runs import RECORDED
from strixfleet.fleet.controller_files import controller_facts
from strixfleet.fleet.host_status import LAST_GOOD
from strixfleet.fleet.options import Options
from strixfleet.fleet.progress import say
from strixfleet.hosts.fan_out import fan_out
from strixfleet.hosts.reach import ask, remote_for
from strixfleet.inventory.schema.fleet_model import Fleet, Host
from strixfleet.managed.compiled import DesiredState, compile_host, questions_for
from strixfleet.on_host.questions import Answers, Json


@dataclass(frozen=True, slots=True)
class ProbedHost:
    """One host as it was found: its desired state, its answers, and how they differ."""

    state: DesiredState
    answers: Answers
    differences: tuple[Difference, ...]
    seconds: float


def load_fleet(options: Options) -> Fleet:
    """Load and check the inventory; say its warnings."""
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
    """Ask for sudo's password, once a run however often the inventory is loaded."""
    return SecretStr(click.prompt("BECOME password", hide_input=True, err=True))


def said_yes(question: str) -> bool:
    """Ask; where nobody can answer, that is a no: what was to be shown has been."""
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        say("")
        return False


def look(host: Host, known_hosts: str) -> ProbedHost:
    """Probe one host and hold it against its desired state: one connection, one round trip."""
    started = time.monotonic()
    controller = controller_facts(host.settings)
    remote = remote_for(host, known_hosts)
    try:
        answers = ask(remote, host, questions_for(host) | {LAST_GOOD})
    finally:
        remote.close()
    state = compile_host(host, answers, controller)
    rows = waive(state.differences(answers), host.settings.audit_waivers, now().date())
    return ProbedHost(state, answers, rows, time.monotonic() - started)


def look_at_all(fleet: Fleet, hosts: Iterable[Host], forks: int) -> dict[str, ProbedHost | FleetError]:
    """Probe many hosts at once; what fails is a value."""
    return fan_out(hosts, lambda host: look(host, fleet.known_hosts), forks=forks)


def host_report(name: str, seen: ProbedHost | FleetError) -> HostReport:
    """Return the row of one host that every renderer knows."""
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
    """Add a verb's own keys to a host's row."""
    return replace(report, extra={**report.extra, **extra})


def now() -> datetime:
    """Return the time, with its zone."""
    return datetime.now(UTC)


def finish(verb: str, started: datetime, hosts: Iterable[HostReport]) -> Report:
    """Close a report and keep it in the history."""
    report = Report(verb, tuple(hosts), started, now())
    remember(report)
    return report


def remember(report: Report) -> None:
    """Keep a run in the history; one that cannot be written is no reason to fail."""
    if report.verb not in RECORDED:
        return
    from strixfleet.findings.run_store import History, history_path

    try:
        History(history_path()).record(report)
    except FleetError as error:
        say(f"warning: this run is not recorded: {error}")
