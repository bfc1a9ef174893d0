"""The smoke benchmark of many hosts at once, by itself or at the end of a provision."""

from collections.abc import Mapping
from dataclasses import replace

from strixfleet.errors import FleetError, worst
from strixfleet.findings.results import HostReport
from strixfleet.findings.verdict import Grade
from strixfleet.fleet.session import ProbedHost, with_extra
from strixfleet.hosts.fan_out import fan_out
from strixfleet.hosts.reach import remote_for
from strixfleet.inventory.schema.fleet_model import Fleet, Host
from strixfleet.speed.host_bench import HostBench
from strixfleet.speed.judge.peers import Peer, explained_by_peers
from strixfleet.speed.measure.remote_bench import Bench


def measure_host(
    host: Host, known_hosts: str, probed: ProbedHost, *, everything: bool = False, cpu: bool = False
) -> HostReport:
    """Measure one host over one connection."""
    remote = remote_for(host, known_hosts)
    try:
        return HostBench(host, probed, Bench(host, remote)).measure(everything=everything, cpu=cpu)
    finally:
        remote.close()


def measure_all(
    fleet: Fleet,
    probed: Mapping[str, ProbedHost | FleetError],
    *,
    forks: int,
    everything: bool = False,
    cpu: bool = False,
) -> dict[str, HostReport]:
    """
    Measure all hosts that answered; a failure is reported in the host's row.

    Sandbox hosts share this machine, so they are measured one after the other.
    """
    answered = {name: one for name, one in probed.items() if isinstance(one, ProbedHost)}
    hosts = [host for host in fleet.hosts if host.name in answered]
    shared = any(one.state.facts.simulated for one in answered.values())
    found = fan_out(
        hosts,
        lambda host: measure_host(
            host, fleet.known_hosts, answered[host.name], everything=everything, cpu=cpu
        ),
        forks=1 if shared else forks,
    )
    reports = {name: one for name, one in found.items() if isinstance(one, HostReport)}
    errors = {
        name: HostReport.of_error(name, one) for name, one in found.items() if isinstance(one, FleetError)
    }
    both = errors | compared_with_peers(reports, answered)
    return {name: both[name] for name in found}


def compared_with_peers(
    reports: Mapping[str, HostReport], probed: Mapping[str, ProbedHost]
) -> dict[str, HostReport]:
    """Explain slow verdicts by the differences to faster hosts of the same profile."""
    peers = {
        name: Peer.of(probed[name].state, probed[name].answers, probed[name].differences, report)
        for name, report in reports.items()
    }
    return {
        name: explained_by_peers(peers[name], report, [one for one in peers.values() if one.name != name])
        if any(verdict.grade is Grade.SLOW for verdict in report.verdicts)
        else report
        for name, report in reports.items()
    }


def smoke_reports(
    fleet: Fleet,
    probed: Mapping[str, ProbedHost | FleetError],
    reports: Mapping[str, HostReport],
    *,
    forks: int,
) -> dict[str, HostReport]:
    """Add the smoke benchmark to the reports of these hosts; leave out hosts whose change failed."""
    changed = {name: one for name, one in probed.items() if reports[name].error is None}
    measured = measure_all(fleet, changed, forks=forks)
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
