"""An upgrade from beginning to end: survey, ask, take the lock, roll out, report, write the pin."""

import queue
import time
from dataclasses import dataclass, replace

import click

from strixfleet.errors import UsageError
from strixfleet.findings.results import Report
from strixfleet.fleet.moved_tags import refuse_moved_tags
from strixfleet.fleet.options import Options
from strixfleet.fleet.pin_lock import hold_tags, lock_file
from strixfleet.fleet.progress import say, step
from strixfleet.fleet.session import now
from strixfleet.hosts.connections import Connections
from strixfleet.inventory.schema.fleet_model import Fleet
from strixfleet.managed.llama_cpp.build import Pinned
from strixfleet.rollout.drive import Driver
from strixfleet.rollout.fleet_lock import LOST_AFTER_S, FleetLock
from strixfleet.rollout.host_work import HostWork, RolloutContext
from strixfleet.rollout.journal import Journal, begin, find_unfinished
from strixfleet.rollout.refuse_busy import on_trial, refuse_busy, refuse_locked
from strixfleet.rollout.rollout_report import report_of, report_of_check, show_waves
from strixfleet.rollout.rollout_state import Event, EventKind, HostPhase, Rollout, Rules, new_rollout
from strixfleet.rollout.stage import Stage, consent
from strixfleet.rollout.survey import (
    PinnedFleet,
    RolloutSurvey,
    agreed,
    agreed_lease_s,
    load_pinned,
    refuse_bad_pin,
    refuse_known_bad,
    refuse_never_provisioned,
    reported_builds,
    show_pin,
    survey,
    write_pin,
)
from strixfleet.rollout.waves import plan_waves


CANARY_SOAK_S = 75.0  # some builds crash after a minute
TRIAL_WAIT_S, TRIAL_PAUSE_S = 300.0, 6.0  # the host's timer looks every 5 s


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """What the operator asked for; None where the inventory or a default decides."""

    to: str | None = None
    canary: str | None = None
    batch: str | None = None
    max_failures: int | None = None
    return_upgraded: bool = False
    retry: bool = False
    soak_s: float = CANARY_SOAK_S
    yes: bool = False
    check: bool = False
    diff: bool = False


def run_upgrade(options: Options, request: UpgradeRequest) -> Report:
    """Roll the selected hosts to their pinned build and return the report."""
    pinned = load_pinned(options, request.to)
    with Connections.checked_by(pinned.fleet.known_hosts) as connections:
        return _upgrade(pinned, request, connections)


def _upgrade(pinned: PinnedFleet, request: UpgradeRequest, connections: Connections) -> Report:
    started = now()
    found, interrupted = survey_without_trials(pinned, request, connections)
    refuse_moved_tags(one.seen for one in found.answered.values())
    refuse_bad_pin(found)
    pins = (Pinned(one.want.repository, one.want.ref) for one in found.answered.values())
    hold_tags(lock_file(pinned.fleet), pins, write=not request.check)
    state = plan_rollout(found, request)
    if _has_nothing_to_do(found):
        step("every host runs the pinned build already")
        if not request.check:
            write_pin(pinned.edits)
        return report_of(_all_unchanged(state), found, {}, started)
    refuse_never_provisioned(found)
    if not request.retry and interrupted is None:
        refuse_known_bad(found)
    show_waves(state, found)
    if request.check:
        if request.diff:
            show_pin(pinned.edits)
        return report_of_check(state, found, started)
    if not request.yes and found.answered and not click.confirm("Start the rollout?", err=True):
        raise UsageError("nothing was changed")
    ended, journal = roll_out(found, request, state, interrupted, connections)
    report = report_of(ended, found, journal.notes, started)
    if len(ended.in_phase(HostPhase.UPGRADED, HostPhase.UNCHANGED)) == len(ended.members):
        write_pin(pinned.edits)
    elif pinned.edits:
        say("inventory not updated: it still pins the previous build")
    if ended.stopped:
        say("nothing is held against the build: run the same command again to go on")
    say(f"journal: {journal.path.with_suffix('.log')}")
    return report


def survey_without_trials(
    pinned: PinnedFleet, request: UpgradeRequest, connections: Connections
) -> tuple[RolloutSurvey, Journal | None]:
    """
    Survey the hosts; wait until unconfirmed builds of an interrupted rollout have reverted.

    Return the survey, and the journal of this rollout if it was interrupted: it will be resumed at once.
    """
    deadline = time.monotonic() + TRIAL_WAIT_S
    while True:
        found = survey(pinned, connections)
        interrupted = find_unfinished(found.about)
        trials = on_trial(found.programs)
        if request.check or interrupted is not None or not trials:
            return found, interrupted
        refuse_locked(found.programs)
        if time.monotonic() > deadline:
            refuse_busy(found.programs)
        name, left_s = max(trials.items(), key=lambda trial: trial[1])
        trial = f"{name} still runs an unconfirmed build from an interrupted rollout"
        step(f"{trial}; waiting {left_s:.0f} s for it to revert")
        time.sleep(min(left_s, TRIAL_WAIT_S) + TRIAL_PAUSE_S)


def plan_rollout(found: RolloutSurvey, request: UpgradeRequest) -> Rollout:
    """Return the rollout before its first event: waves and rules, from the flags or else the inventory."""
    canary = _canary(found.fleet, request.canary or agreed(found.fleet, "rollout_canary"))
    batch = request.batch or str(agreed(found.fleet, "rollout_batch"))
    allowed = request.max_failures
    if allowed is None:
        allowed = int(str(agreed(found.fleet, "rollout_max_failures")))
    names = [host.name for host in found.fleet.hosts]
    waves = plan_waves(names, canary, batch)
    return new_rollout(waves, Rules(allowed, return_upgraded=request.return_upgraded))


def _canary(fleet: Fleet, named: object) -> str | None:
    """Return the canary: a host that serves, because the gate of another one proves nothing of the build."""
    serving = [host.name for host in fleet.hosts if host.settings.llama_server_instances]
    if not serving:
        say("note: no selected host has llama_server_instances, so that the gate proves nothing of serving")
        return str(named) if named else None
    if not named:
        return serving[0]
    if any(host.name == named for host in fleet.hosts) and named not in serving:
        message = f"the canary {named} has no llama_server_instances, so its gate would prove nothing"
        raise UsageError(message, hint=f"name a host that serves, as in --canary {serving[0]}")
    return str(named)


def _has_nothing_to_do(found: RolloutSurvey) -> bool:
    answered = found.answered.values()
    everyone = len(answered) == len(found.hosts) and all(one.runs_its_pin for one in answered)
    return everyone and not on_trial(found.programs)


def _all_unchanged(state: Rollout) -> Rollout:
    members = {name: replace(member, phase=HostPhase.UNCHANGED) for name, member in state.members.items()}
    return replace(state, members=members)


def roll_out(
    found: RolloutSurvey,
    request: UpgradeRequest,
    state: Rollout,
    interrupted: Journal | None,
    connections: Connections,
) -> tuple[Rollout, Journal]:
    """Take the fleet's lock and bring every host to an outcome; resume the rollout that was interrupted."""
    journal = interrupted or begin(found.about)
    resumed = interrupted.state if interrupted else None
    events: queue.Queue[Event] = queue.Queue()
    silent = f"no heartbeat for {LOST_AFTER_S:.0f} s"
    lock = FleetLock(
        connections,
        on_lost=lambda name: events.put(Event(EventKind.SILENT, name, silent)),
        on_taken=lambda why: events.put(Event(EventKind.STOP, reason=f"the fleet lock was lost: {why}")),
    )
    context = RolloutContext(
        connections,
        found.fleet.known_hosts,
        lease_s=agreed_lease_s(found.fleet),
        soak_s=request.soak_s,
        retry=request.retry or interrupted is not None,
        token=lock.tokens.get,
        note=journal.note,
    )
    canary = state.waves[0][0]
    works = {name: HostWork(one, name == canary, context) for name, one in found.answered.items()}
    try:
        found = found.without(lock.take([one.host for one in found.answered.values()]))
        agree = consent(yes=request.yes)
        stage = Stage(found, connections, lock.tokens.get, agree, journal.note, diff=request.diff)
        lock.start()
        if resumed is not None:
            step(f"resuming the interrupted rollout: {journal.path.with_suffix('.log')}")
        reported = reported_builds(found) if resumed else None
        ended = Driver(works, stage, journal, events).run(resumed or state, reported)
    finally:
        for work in works.values():
            work.close()
        lock.release()
    return ended, journal
