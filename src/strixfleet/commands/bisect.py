"""`strixfleet bisect`: find the commit that broke or slowed one host, with the gate as the test."""

from collections.abc import Mapping

import click

from strixfleet.errors import ExitCode, FleetError
from strixfleet.findings.results import HostReport
from strixfleet.fleet.options import FiniteRange, Options, fleet_options
from strixfleet.fleet.progress import step
from strixfleet.fleet.session import conclude, finish, now
from strixfleet.hosts.connections import Connections
from strixfleet.on_host.questions import Json
from strixfleet.rollout.bisection import Search
from strixfleet.rollout.commit_trials import CommitTrials, commits_to_search, load_at
from strixfleet.rollout.fleet_lock import LOST_AFTER_S, FleetLock
from strixfleet.rollout.survey import SurveyedHost, refuse_never_provisioned, survey
from strixfleet.rollout.upgrade import CANARY_SOAK_S


def _row(name: str, found: Search, subjects: Mapping[str, str]) -> HostReport:
    suspects: list[Json] = [*found.suspects]
    tried: dict[str, Json] = {commit: result.value for commit, result in found.known.items()}
    word = "first bad commit" if len(suspects) == 1 else "the first bad commit is one of"
    notes: list[Json] = [f"{word}: {commit} {subjects[commit]}" for commit in found.suspects]
    return HostReport(name, reachable=True, extra={"suspects": suspects, "tried": tried, "notes": notes})


def _search(trials: CommitTrials, one: SurveyedHost, good: str, bad: str) -> HostReport:
    """Search under the host's lock."""
    commits = commits_to_search(one, good, bad)
    name, lock = one.host.name, trials.lock
    try:
        unreachable = lock.take([one.host])
        if name in unreachable:
            return HostReport.of_error(name, unreachable[name])
        lock.start()
        return _row(name, trials.search(commits), dict(commits))
    finally:
        lock.release()


@click.command()
@fleet_options
@click.argument("good")
@click.argument("bad")
@click.option(
    "--soak",
    "soak_s",
    type=FiniteRange(0),
    default=CANARY_SOAK_S,
    show_default=True,
    help="Seconds that the servers have to stay up.",
)
def bisect(options: Options, *, good: str, bad: str, soak_s: float) -> ExitCode:
    """
    Find the first commit after GOOD, up to BAD, that fails the gate on one host.

    The host has to run GOOD. Each commit is tried on trial, and the host returns to GOOD after it.
    """
    started = now()
    pinned = load_at(options, good)
    with Connections.checked_by(pinned.fleet.known_hosts) as connections:
        # The action under way ends by itself when its host is silent or its lock is lost.
        lock = FleetLock(
            connections,
            on_lost=lambda name: step(f"{name}: no heartbeat for {LOST_AFTER_S:.0f} s"),
            on_taken=lambda why: step(f"the fleet lock was lost: {why}"),
        )
        trials = CommitTrials(options, connections, lock, soak_s)
        found = survey(pinned, connections)
        refuse_never_provisioned(found)
        ((name, one),) = found.hosts.items()
        row = (
            HostReport.of_error(name, one) if isinstance(one, FleetError) else _search(trials, one, good, bad)
        )
    return conclude(finish("bisect", started, [row]), options)
