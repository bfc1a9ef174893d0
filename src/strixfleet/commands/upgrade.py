"""`strixfleet upgrade`: roll hosts to the pinned build; what does not pass its gate goes back."""

import signal
import time
from dataclasses import replace
from typing import Any

import click

from strixfleet.adapters import journal as journals
from strixfleet.adapters.fleet_lock import FleetLock
from strixfleet.adapters.ssh import remote_for
from strixfleet.commands.busy import on_trial, refuse_busy, refuse_locked
from strixfleet.commands.options import FiniteRange, Options, change_options, fleet_options
from strixfleet.commands.rollout_drive import Driver
from strixfleet.commands.rollout_host import HostWork, Terms
from strixfleet.commands.rollout_plan import agreed, current_build, wanted_build
from strixfleet.commands.rollout_report import foretold, report_of, show_waves
from strixfleet.commands.rollout_scene import (
    CANARY_SOAK_S,
    Scene,
    Wish,
    refuse_known_bad,
    sights_of,
    survey,
    write_pin,
)
from strixfleet.commands.rollout_stage import Stage, consent
from strixfleet.commands.session import now
from strixfleet.core.results import Report
from strixfleet.core.rollout_state import Event, Kind, Rollout, Rules, Standing, new_rollout
from strixfleet.core.waves import plan_waves
from strixfleet.errors import ExitCode, UsageError
from strixfleet.report.output import show
from strixfleet.report.progress import say, step


TRIAL_WAIT_S, TRIAL_PAUSE_S = 300.0, 6.0  # the host's timer looks every 5 s


def _rollout(scene: Scene, wish: Wish) -> Rollout:
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


def drive(scene: Scene, wish: Wish, state: Rollout) -> tuple[Rollout, journals.Journal]:
    """Take the lock and go."""
    about = scene.about
    found = journals.find_unfinished(about)
    journal = found or journals.begin(about)
    resumed = found.state if found else None
    lease_s = float(str(agreed(scene.fleet.hosts, "rollout_revert_after_s")))
    holder: list[Driver] = []
    lock = FleetLock(
        lambda host: remote_for(host, scene.fleet.known_hosts),
        lambda name: holder[0].events.put(Event(Kind.SILENT, name, "not heard of for 30 s")),
        lambda why: holder[0].events.put(Event(Kind.STOP, reason=f"the fleet lock was lost: {why}")),
    )
    terms = Terms(
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
        deaf = lock.take([host for host in scene.fleet.hosts if host.name in works])
        seen = {**scene.seen, **deaf}
        stage = Stage(scene.fleet, seen, scene.options, lock.tokens.get, consent(yes=wish.yes), journal.note)
        holder.append(Driver(works, stage, journal))
        lock.start()
        if resumed is not None:
            step(f"going on with the rollout that was cut: {journal.path.with_suffix('.log')}")
        sights = {**sights_of(scene), **dict.fromkeys(deaf)}
        ended = holder[0].run(resumed or state, sights if resumed else None)
    finally:
        for work in works.values():
            work.close()
        lock.release()
    return ended, journal


def survey_in_peace(options: Options, wish: Wish) -> Scene:
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


def run_upgrade(options: Options, wish: Wish) -> Report:
    """Survey, ask, drive, and say what came of it."""
    started = now()
    scene = survey_in_peace(options, wish)
    state = _rollout(scene, wish)
    froms = {name: current_build(one) for name, one in scene.good.items()}
    same = all(froms.get(host.name) == scene.wants.get(host.name, "") for host in scene.fleet.hosts)
    if same and not on_trial(scene.programs):
        step("every host runs the pinned build")
        members = {
            name: replace(member, standing=Standing.UNCHANGED) for name, member in state.members.items()
        }
        if wish.to is not None and not wish.check:
            write_pin(scene.edits)
        return report_of(replace(state, members=members), scene, froms, None, started)
    if not wish.retry and journals.find_unfinished(scene.about) is None:
        refuse_known_bad(scene)
    show_waves(state, scene, froms)
    if wish.check:
        return foretold(state, scene, froms, started)
    if not wish.yes and scene.good and not click.confirm("Go?", err=True):
        raise UsageError("nothing was changed")
    ended, journal = drive(scene, wish, state)
    report = report_of(ended, scene, froms, journal, started)
    if wish.to is not None and scene.edits:
        if all(one.standing in {Standing.UPGRADED, Standing.UNCHANGED} for one in ended.members.values()):
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
    wish = Wish(check=check or dry_run, **wishes)
    report = run_upgrade(options, wish)
    show(report, as_json=options.as_json, output=options.output)
    return report.exit_code
