"""Switch one host back to its previous build, without network or compiler."""

import time

from strixfleet.errors import ChangeFailed, ExitCode, HostError
from strixfleet.findings.results import HostReport
from strixfleet.hosts.connections import Connections
from strixfleet.hosts.host_program import SWITCH_TIMEOUT_S, HostAnswer, HostProgram
from strixfleet.inventory.schema.fleet_model import Fleet, Host
from strixfleet.rollout.gate_watch import Watch
from strixfleet.rollout.refuse_busy import status_of_program
from strixfleet.rollout.rollout_state import HostPhase


def preview(host: Host, connections: Connections) -> HostReport:
    """Report from which build to which a host would go."""
    status = status_of_program(host, connections.to(host))
    extra = {"outcome": HostPhase.SKIPPED.value, "from": status.current, "to": status.previous}
    return HostReport(host.name, reachable=True, extra=extra)


def roll_back(
    host: Host, fleet: Fleet, connections: Connections, token: int | None, *, retry: bool
) -> HostReport:
    """Switch one host back, and wait until its servers answer."""
    started = time.monotonic()
    remote = connections.to(host)
    before = status_of_program(host, remote)
    program = HostProgram(host.name, remote, token)
    try:
        words = ["rollback", *(["--retry"] if retry else [])]
        after = program.must(*words, timeout_s=SWITCH_TIMEOUT_S)
        problem = Watch(host, fleet.known_hosts).settled(remote)
    except HostError as error:
        hint = "see with `strixfleet status` whether it was switched"
        raise ChangeFailed(f"lost during the rollback: {error.message}", where=host.name, hint=hint) from None
    return _report(host.name, before, after, problem, time.monotonic() - started)


def _report(name: str, before: HostAnswer, after: HostAnswer, problem: str, seconds: float) -> HostReport:
    outcome = HostPhase.FAILED if problem else HostPhase.RETURNED
    return HostReport(
        name,
        reachable=True,
        error=f"{after.current} is back, but {problem}" if problem else None,
        seconds=seconds,
        extra={
            "outcome": outcome.value,
            "from": before.current,
            "to": after.current,
            "ref": after.refused[-1]["ref"] if after.refused else None,
            "notes": [f"rolled back: {before.current} → {after.current}"],
        },
        code=ExitCode.FAILED if problem else ExitCode.OK,
    )
