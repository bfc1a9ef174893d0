"""`strixfleet provision`: from a bare OS to a verified service; running it again changes nothing."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import click

from strixfleet.commands.plan import plan_report
from strixfleet.errors import ExitCode, FleetError, ProbeFailed, UsageError
from strixfleet.findings.items import Cost, Difference, Status
from strixfleet.findings.results import HostReport, Report
from strixfleet.fleet.handed_state import retired_servers, state_for_roles
from strixfleet.fleet.host_status import is_measured
from strixfleet.fleet.options import Options, change_options, fleet_options
from strixfleet.fleet.pin_lock import hold_tags, lock_file
from strixfleet.fleet.plays import play_on
from strixfleet.fleet.progress import say, step
from strixfleet.fleet.session import (
    ProbedHost,
    conclude,
    finish,
    host_report,
    load_fleet,
    look_at_all,
    now,
    with_extra,
)
from strixfleet.hosts.connections import Connections
from strixfleet.inventory.files.paths import folder_of
from strixfleet.inventory.schema.fleet_model import Fleet
from strixfleet.managed.llama_cpp.aspect import build_for, installs
from strixfleet.managed.llama_cpp.build import Pinned
from strixfleet.managed.llama_cpp.host_program import HOST_PROGRAM
from strixfleet.on_host.questions import Json
from strixfleet.report.output import show
from strixfleet.rollout.refuse_busy import refuse_busy, statuses
from strixfleet.rollout.sole_operator import Alone, sole_operator
from strixfleet.speed.bench_all import smoke_reports
from strixfleet.tools.ansible_playbook import HostOutcome, PlayStatus
from strixfleet.tools.git import revision_of


@dataclass(frozen=True, slots=True)
class Consent:
    """What the operator allows."""

    yes: bool
    check: bool
    diff: bool
    reboot: str


def _needs_work(seen: ProbedHost) -> bool:
    """Say whether a play or a reboot could change anything on the host."""
    return any(row.calls_for_provision for row in seen.differences)


def _reboots(seen: ProbedHost) -> bool:
    return any(
        row.cost is Cost.REBOOT and row.status in {Status.DRIFT, Status.PENDING_REBOOT}
        for row in seen.differences
    )


def _settle_reboot(consent: Consent, due: list[str]) -> str:
    """Return `auto` or `never`; nobody is asked under --yes, nor in check mode, which reboots nothing."""
    if consent.reboot != "ask":
        return consent.reboot
    if not due or consent.check:
        return "never"
    names = ", ".join(due)
    if consent.yes:
        say(f"note: {names} will need a reboot; --yes alone does not consent to one: add --reboot auto")
        return "never"
    return "auto" if click.confirm(f"Reboot, one at a time: {names}?", err=True) else "never"


def handed_state(seen: ProbedHost, fleet: Fleet) -> dict[str, Json]:
    """Return what the play need not find out again; to what the plan takes away, the operator has agreed."""
    revision = revision_of(str(folder_of(fleet.source)))
    retired: list[Json] = [*retired_servers(seen.state, seen.answers)]
    return state_for_roles(seen.state, seen.answers, seen.differences, revision, retired)


def _play(
    fleet: Fleet,
    chosen: dict[str, ProbedHost],
    options: Options,
    consent: Consent,
    *,
    connections: Connections,
    alone: Alone,
) -> dict[str, HostOutcome]:
    return play_on(
        chosen,
        "provision.yml",
        fleet,
        options,
        connections,
        variables={
            "strixfleet_hosts": "all",  # within the limit: the plan has chosen them
            "strixfleet_reboot": consent.reboot,
            "strixfleet_reboot_due": "report",  # the command's exit code and report say it
            "strixfleet_retire": sorted({name for names in _retired(chosen).values() for name in names}),
            **({"strixfleet_tokens": str(alone.tokens_file)} if alone.tokens_file else {}),
        },
        states={name: handed_state(one, fleet) for name, one in chosen.items()},
        check=consent.check,
        diff=consent.diff,
    )


def _merge(report: HostReport, outcome: HostOutcome | None) -> HostReport:
    """Let a failed play weigh more than a host that looks fine after it."""
    if outcome is None:
        return report
    extra: dict[str, Any] = {"changed": list(outcome.changed_tasks)}
    if outcome.status is PlayStatus.FAILED:
        message = f"{outcome.failed_task}: {outcome.message}"
        return with_extra(replace(report, error=message, code=ExitCode.FAILED), extra)
    if outcome.status is PlayStatus.UNREACHABLE:
        return replace(report, reachable=False, error=f"lost during the play: {outcome.message}")
    return with_extra(report, extra)


def _retired(chosen: dict[str, ProbedHost]) -> dict[str, list[str]]:
    """Return the servers that left the inventory, by host."""
    found = {name: retired_servers(one.state, one.answers) for name, one in chosen.items()}
    return {name: servers for name, servers in found.items() if servers}


def _new_builds(hosts: Iterable[ProbedHost]) -> Iterator[Pinned]:
    """Return what is to be built."""
    for seen in hosts:
        build = build_for(seen.state.host.settings, seen.state.machine)
        if build is not None and installs(build, seen.answers):
            yield Pinned(build.repository, build.ref)


def _ask(plan: Report, chosen: dict[str, ProbedHost], consent: Consent) -> None:
    """Show the plan and ask; what takes a server away is said once more, since a slip may have done it."""
    show(plan, to_stderr=True)
    retired = [f"{', '.join(servers)} on {name}" for name, servers in _retired(chosen).items()]
    if retired:
        say(f"Servers to take away, because the inventory no longer has them: {'; '.join(retired)}")
    if consent.yes or consent.check:
        return
    also = " and take these servers away" if retired else ""
    if not click.confirm(f"Change {', '.join(chosen)}{also}?", err=True):
        raise UsageError("nothing was changed")


def run_provision(options: Options, consent: Consent) -> Report:
    """Plan, ask, play, measure, look again; give what the hosts are then."""
    started = now()
    fleet = load_fleet(options)
    step(f"looking at {len(fleet.hosts)} host(s)")
    seen = look_at_all(fleet, fleet.hosts, options.forks)
    good = {name: one for name, one in seen.items() if isinstance(one, ProbedHost)}
    work = {name: one for name, one in good.items() if _needs_work(one)}
    if work:
        _ask(plan_report(fleet, seen, started), work, consent)
        hold_tags(lock_file(fleet), _new_builds(work.values()), write=not consent.check)
        reboot = _settle_reboot(consent, [name for name, one in work.items() if _reboots(one)])
        consent = replace(consent, reboot=reboot)
    else:
        step("nothing for provision to do" if good else "no host answered")
    touched = {name: one for name, one in good.items() if name in work or not _is_proved(fleet, one, None)}
    outcomes: dict[str, HostOutcome] = {}
    with (
        Connections.checked_by(fleet.known_hosts) as connections,
        _alone(fleet, touched, connections, options, consent) as alone,
    ):
        refused = {name: one for name, one in alone.refused.items() if not _is_mended(good[name], one)}
        seen |= refused
        chosen = {name: one for name, one in work.items() if name not in refused}
        if chosen:
            outcomes = _play(fleet, chosen, options, consent, connections=connections, alone=alone)
            step("looking again")
            hosts = [host for host in fleet.hosts if host.name in good and host.name not in refused]
            seen |= look_at_all(fleet, hosts, options.forks)
            if broken := _broken_by_reboot(good, seen, outcomes):
                step(f"mending what the reboot broke: {', '.join(broken)}")
                again = replace(consent, reboot="never")
                mended = _play(fleet, broken, options, again, connections=connections, alone=alone)
                outcomes |= {
                    name: _both(outcomes[name], one) for name, one in mended.items() if name in broken
                }
                seen |= look_at_all(fleet, [fleet.host(name) for name in broken], options.forks)
        return finish("provision", started, _reports(fleet, seen, outcomes, options, consent))


def _host_program(seen: ProbedHost) -> Difference:
    return next(row for row in seen.differences if row.id == f"llama_cpp:{HOST_PROGRAM}")


def _is_mended(seen: ProbedHost, error: FleetError) -> bool:
    """Tell whether a host gives no lock because its program is damaged, which this provision mends."""
    return isinstance(error, ProbeFailed) and _host_program(seen).status is not Status.OK


def _alone(
    fleet: Fleet,
    touched: dict[str, ProbedHost],
    connections: Connections,
    options: Options,
    consent: Consent,
) -> AbstractContextManager[Alone]:
    """Keep others from the hosts that are changed or measured; one without our program has no lock."""
    with_program = {name for name, one in touched.items() if _host_program(one).have is not None}
    hosts = [host for host in fleet.hosts if host.name in with_program]
    if consent.check or not hosts:
        refuse_busy(statuses(hosts, connections, options.forks))
        return nullcontext(Alone({}, None))
    return sole_operator(hosts, connections, options.forks)


def _broken_by_reboot(
    before: dict[str, ProbedHost],
    after: dict[str, ProbedHost | FleetError],
    outcomes: dict[str, HostOutcome],
) -> dict[str, ProbedHost]:
    """Return the hosts that booted during a play that went well, and lack something that needs no reboot."""
    found = {}
    for name, outcome in outcomes.items():
        seen = after.get(name)
        if outcome.status not in {PlayStatus.OK, PlayStatus.CHANGED} or not isinstance(seen, ProbedHost):
            continue
        booted = seen.state.facts.boot_id != before[name].state.facts.boot_id
        if booted and _needs_work(seen) and not _reboots(seen):
            found[name] = seen
    return found


def _both(first: HostOutcome, second: HostOutcome) -> HostOutcome:
    """Return the second of two plays, with what either changed."""
    return replace(second, changed_tasks=(*first.changed_tasks, *second.changed_tasks))


def _is_proved(fleet: Fleet, seen: ProbedHost | FleetError, outcome: HostOutcome | None) -> bool:
    """Say whether there is no speed to prove: nothing served, or proved and nothing changed since."""
    if isinstance(seen, FleetError):
        return True
    host = fleet.host(seen.state.host.name)
    if not host.settings.llama_server_instances and not host.settings.smoke_bench.model:
        return True
    changed = outcome is not None and outcome.changed_tasks
    return not changed and is_measured(host, seen.answers)


def _reports(
    fleet: Fleet,
    seen: dict[str, ProbedHost | FleetError],
    outcomes: dict[str, HostOutcome],
    options: Options,
    consent: Consent,
) -> tuple[HostReport, ...]:
    reports = {name: _merge(host_report(name, one), outcomes.get(name)) for name, one in seen.items()}
    unproved = {name: one for name, one in seen.items() if not _is_proved(fleet, one, outcomes.get(name))}
    if not consent.check:
        reports |= smoke_reports(fleet, unproved, reports, forks=options.forks)
    return tuple(reports.values())


@click.command()
@fleet_options
@change_options
@click.option(
    "--reboot",
    type=click.Choice(["never", "ask", "auto"]),
    default="ask",
    show_default=True,
    help="Whether hosts may be rebooted, one at a time.",
)
def provision(options: Options, *, yes: bool, check: bool, diff: bool, reboot: str) -> ExitCode:
    """
    Bring hosts from a bare OS to a verified llama-server.

    Shows the plan, asks, applies it, runs the smoke benchmark and the audit. A killed run is finished by
    the next; a run with nothing to do changes nothing.
    """
    return conclude(run_provision(options, Consent(yes, check, diff, reboot)), options)
