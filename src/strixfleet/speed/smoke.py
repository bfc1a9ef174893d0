"""The smoke benchmark of many hosts at once, alone or as the end of a provision."""

from collections.abc import Mapping
from dataclasses import replace

from strixfleet.errors import FleetError, worst
from strixfleet.findings.results import HostReport
from strixfleet.findings.verdict import Grade
from strixfleet.fleet.session import ProbedHost, with_extra
from strixfleet.hosts.fan_out import fan_out
from strixfleet.hosts.reach import remote_for
from strixfleet.inventory.schema.fleet_model import Fleet, Host
from strixfleet.speed.judge.peers import Sibling, explained_beside
from strixfleet.speed.measure.measure_host import HostBench
from strixfleet.speed.measure.remote_bench import Bench


def measure_host(
    host: Host, known_hosts: str, seen: ProbedHost, *, everything: bool = False, cpu: bool = False
) -> HostReport:
    """Measure one host over one connection."""
    remote = remote_for(host, known_hosts)
    try:
        return HostBench(host, seen, Bench(host, remote)).measure(everything=everything, cpu=cpu)
    finally:
        remote.close()


def measure_all(
    fleet: Fleet,
    seen: Mapping[str, ProbedHost | FleetError],
    *,
    forks: int,
    everything: bool = False,
    cpu: bool = False,
) -> dict[str, HostReport]:
    """
    Measure all hosts that answered; what fails is said in the host's row.

    Sandbox hosts share this machine, so they are measured one after the other.
    """
    good = {name: one for name, one in seen.items() if isinstance(one, ProbedHost)}
    hosts = [host for host in fleet.hosts if host.name in good]
    shared = any(one.state.facts.simulated for one in good.values())
    found = fan_out(
        hosts,
        lambda host: measure_host(host, fleet.known_hosts, good[host.name], everything=everything, cpu=cpu),
        forks=1 if shared else forks,
    )
    reports = {name: one for name, one in found.items() if isinstance(one, HostReport)}
    errors = {
        name: HostReport.of_error(name, one) for name, one in found.items() if isinstance(one, FleetError)
    }
    both = errors | beside_siblings(reports, good)
    return {name: both[name] for name in found}


def beside_siblings(
    reports: Mapping[str, HostReport], seen: Mapping[str, ProbedHost]
) -> dict[str, HostReport]:
    """Explain slow verdicts by what faster hosts of the same profile have otherwise."""
    siblings = {
        name: Sibling.of(seen[name].state, seen[name].answers, seen[name].differences, report)
        for name, report in reports.items()
    }
    return {
        name: explained_beside(siblings[name], report, [one for one in siblings.values() if one.name != name])
        if any(verdict.grade is Grade.SLOW for verdict in report.verdicts)
        else report
        for name, report in reports.items()
    }


def smoke_reports(
    fleet: Fleet,
    seen: Mapping[str, ProbedHost | FleetError],
    reports: Mapping[str, HostReport],
    *,
    forks: int,
) -> dict[str, HostReport]:
    """Return the rows of these hosts with the smoke benchmark; not of those whose change failed."""
    fine = {name: one for name, one in seen.items() if reports[name].error is None}
    measured = measure_all(fleet, fine, forks=forks)
    return {name: _joined(reports[name], one) for name, one in measured.items()}


def _joined(report: HostReport, measured: HostReport) -> HostReport:
    whole = replace(
        report,
        verdicts=measured.verdicts,
        seconds=report.seconds + measured.seconds,
        error=measured.error,
        code=worst(report.code, measured.code),
    )
    return with_extra(whole, measured.extra)
