"""`strixfleet upgrade`: roll hosts to the pinned build; what does not pass its gate goes back."""

import signal
import time
from dataclasses import replace
from typing import Any

import click

from strixfleet.errors import ExitCode, UsageError
from strixfleet.findings.results import Report
from strixfleet.fleet.options import FiniteRange, Options, change_options, fleet_options
from strixfleet.fleet.progress import say, step
from strixfleet.fleet.session import now
from strixfleet.hosts.reach import remote_for
from strixfleet.report.output import show
from strixfleet.rollout import journal as journals
from strixfleet.rollout.drive import Driver
from strixfleet.rollout.fleet_lock import FleetLock
from strixfleet.rollout.host_work import HostWork, RolloutContext
from strixfleet.rollout.planned_builds import agreed, current_build, wanted_build
from strixfleet.rollout.refuse_busy import on_trial, refuse_busy, refuse_locked
from strixfleet.rollout.rollout_report import dry_run_report, report_of, show_waves
from strixfleet.rollout.rollout_state import Event, EventKind, HostPhase, Rollout, Rules, new_rollout
from strixfleet.rollout.stage import Stage, consent
from strixfleet.rollout.survey import (
    CANARY_SOAK_S,
    RolloutSurvey,
    UpgradeOptions,
    refuse_known_bad,
    sights_of,
    survey,
    write_pin,
)
from strixfleet.rollout.waves import plan_waves


TRIAL_WAIT_S, TRIAL_PAUSE_S = 300.0, 6.0  # the host's timer looks every 5 s


def _rollout(scene: RolloutSurvey, wish: UpgradeOptions) -> Rollout:
    hosts = scene.fleet.hosts
    canary = wish.canary or agreed(hosts, "rollout_canary")
    batch = wish.batch or agreed(hosts, "rollout_batch")
    allowed = wish.max_failures
    if allowed is None:
        allowed = int(str(agreed(hosts, "rollout_max_failures")))
    names = [host.name for host in hosts]
    waves = plan_waves(names, str(canary) if canary else None, batch if isinstance(batch, int | str) else 1)
    return new_rollout(waves, Rules(allowed, return_upgraded=wish.return_upgraded))


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def drive(scene: RolloutSurvey, wish: UpgradeOptions, state: Rollout) -> tuple[Rollout, journals.Journal]:
    """Take the lock and go."""
    about = scene.about
    found = journals.find_unfinished(about)
    journal = found or journals.begin(about)
    resumed = found.state if found else None
    lease_s = float(str(agreed(scene.fleet.hosts, "rollout_revert_after_s")))
    holder: list[Driver] = []
    lock = FleetLock(
        lambda host: remote_for(host, scene.fleet.known_hosts),
        lambda name: holder[0].events.put(Event(EventKind.SILENT, name, "not heard of for 30 s")),
        lambda why: holder[0].events.put(Event(EventKind.STOP, reason=f"the fleet lock was lost: {why}")),
    )
    terms = RolloutContext(
        scene.fleet.known_hosts,
        lease_s,
        wish.soak_s,
        wish.retry or found is not None,
        lock.tokens.get,
        journal.note,
    )
    canary = state.waves[0][0]
    works = {
        name: HostWork(scene.fleet.host(name), one, wanted_build(one).id, name == canary, terms)
        for name, one in scene.good.items()
    }
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        unreachable = lock.take([host for host in scene.fleet.hosts if host.name in works])
        seen = {**scene.seen, **unreachable}
        stage = Stage(scene.fleet, seen, scene.options, lock.tokens.get, consent(yes=wish.yes), journal.note)
        holder.append(Driver(works, stage, journal))
        lock.start()
        if resumed is not None:
            step(f"going on with the rollout that was cut: {journal.path.with_suffix('.log')}")
        sights = {**sights_of(scene), **dict.fromkeys(unreachable)}
        ended = holder[0].run(resumed or state, sights if resumed else None)
    finally:
        for work in works.values():
            work.close()
        lock.release()
    return ended, journal


def survey_in_peace(options: Options, wish: UpgradeOptions) -> RolloutSurvey:
    """
    Survey; wait until hosts on trial have gone back, unless this is the rollout that goes on with them.

    A build on trial is none that a host runs: nobody has passed it through the gate.
    """
    deadline = time.monotonic() + TRIAL_WAIT_S
    while True:
        scene = survey(options, wish)
        waiting = on_trial(scene.programs)
        if wish.check or not waiting or journals.find_unfinished(scene.about) is not None:
            return scene
        refuse_locked(scene.programs)
        if time.monotonic() > deadline:
            refuse_busy(scene.programs)
        name, left_s = max(waiting.items(), key=lambda pair: pair[1])
        step(f"{name} is on trial by a rollout that was cut and goes back in {left_s:.0f} s: waiting")
        time.sleep(left_s + TRIAL_PAUSE_S)


def run_upgrade(options: Options, wish: UpgradeOptions) -> Report:
    """Survey, ask, drive, and say what came of it."""
    started = now()
    scene = survey_in_peace(options, wish)
    state = _rollout(scene, wish)
    current_builds = {name: current_build(one) for name, one in scene.good.items()}
    same = all(current_builds.get(host.name) == scene.wants.get(host.name, "") for host in scene.fleet.hosts)
    if same and not on_trial(scene.programs):
        step("every host runs the pinned build")
        members = {
            name: replace(member, standing=HostPhase.UNCHANGED) for name, member in state.members.items()
        }
        if wish.to is not None and not wish.check:
            write_pin(scene.edits)
        return report_of(replace(state, members=members), scene, current_builds, None, started)
    if not wish.retry and journals.find_unfinished(scene.about) is None:
        refuse_known_bad(scene)
    show_waves(state, scene, current_builds)
    if wish.check:
        return dry_run_report(state, scene, current_builds, started)
    if not wish.yes and scene.good and not click.confirm("Go?", err=True):
        raise UsageError("nothing was changed")
    ended, journal = drive(scene, wish, state)
    report = report_of(ended, scene, current_builds, journal, started)
    if wish.to is not None and scene.edits:
        if all(one.standing in {HostPhase.UPGRADED, HostPhase.UNCHANGED} for one in ended.members.values()):
            write_pin(scene.edits)
        else:
            say("the inventory still pins the build before")
    say(f"journal: {journal.path.with_suffix('.log')}")
    return report


@click.command()
@fleet_options
@change_options
@click.option("--to", metavar="REF", help="Move to this ref; rewrite the pin in the end.")
@click.option("--canary", metavar="HOST", help="Host that goes first.")
@click.option("--batch", metavar="N|P%", help="Hosts per wave after the canary.")
@click.option("--max-failures", type=click.IntRange(0), help="Hosts that may fail before it stops.")
@click.option("--return-upgraded", is_flag=True, help="After a halt, take upgraded hosts back, too.")
@click.option("--retry", is_flag=True, help="Try a ref that was returned or rolled back before.")
@click.option(
    "--soak",
    "soak_s",
    type=FiniteRange(0),
    default=CANARY_SOAK_S,
    show_default=True,
    help="Seconds that the canary's servers have to stay up.",
)
@click.option("--dry-run", is_flag=True, help="The same as --check.")
def upgrade(
    options: Options,
    *,
    dry_run: bool,
    diff: bool,  # noqa: ARG001 - the pin's change is always shown
    check: bool,
    **wishes: Any,  # noqa: ANN401 - the fields of Wish
) -> ExitCode:
    """
    Roll hosts to the pinned build of llama.cpp: canary first, then batches.

    The build is made on all hosts while the old one serves. Each host is then switched on trial: unless its
    gate passes and it is confirmed over a new connection, it goes back by itself. The canary's failure, or
    more failures than allowed, stops the rollout. Run again after an interruption, it goes on.
    """
    wish = UpgradeOptions(check=check or dry_run, **wishes)
    report = run_upgrade(options, wish)
    show(report, as_json=options.as_json, output=options.output)
    return report.exit_code
