"""`strixfleet bisect`: find the commit that broke or slowed one host, with the gate as the test."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import click
from platformdirs import user_cache_path

from strixfleet.errors import ChangeFailed, ExitCode, FleetError, UsageError
from strixfleet.findings.results import HostReport
from strixfleet.fleet.options import FiniteRange, Options, fleet_options
from strixfleet.fleet.progress import step
from strixfleet.fleet.session import finish, now
from strixfleet.hosts.host_program import HostProgram
from strixfleet.hosts.reach import remote_for
from strixfleet.inventory.schema.pin import KEY
from strixfleet.managed.llama_cpp.aspect import manifest_of
from strixfleet.on_host.questions import Json
from strixfleet.report.output import show
from strixfleet.rollout.bisection import Found, Search, builds_at_most
from strixfleet.rollout.fleet_lock import FleetLock
from strixfleet.rollout.host_work import HostWork, RolloutContext
from strixfleet.rollout.planned_builds import agreed, wanted_build
from strixfleet.rollout.rollout_state import Action, ActionKind, EventKind
from strixfleet.rollout.stage import Stage
from strixfleet.rollout.survey import CANARY_SOAK_S, RolloutSurvey, UpgradeOptions, survey
from strixfleet.tools import git


GATES_MAX = 3
VERDICTS = {EventKind.GATE_PASSED: Found.GOOD, EventKind.GATE_FAILED: Found.BAD}


@dataclass(frozen=True, slots=True)
class Trials:
    """Tries commits on one host; each goes back afterwards, and none is remembered as bad."""

    options: Options
    lock: FleetLock
    soak_s: float

    def scene(self, ref: str) -> RolloutSurvey:
        """Look at the host as if it were pinned to a ref."""
        extra = (*self.options.extra_vars, json.dumps({KEY: ref}))
        return survey(replace(self.options, extra_vars=extra), UpgradeOptions())

    def __call__(self, commit: str) -> tuple[Found, str]:
        """Build a commit, switch to it on trial, run the gate, go back."""
        scene = self.scene(commit)
        (host,) = scene.fleet.hosts
        staged = Stage(scene.fleet, scene.seen, scene.options, self.lock.tokens.get)([host.name])[host.name]
        if staged.kind is EventKind.LOST:
            raise ChangeFailed(staged.reason, where=host.name)
        if staged.kind is not EventKind.STAGED:
            return Found.UNKNOWN, staged.reason
        seen = scene.good[host.name]
        lease_s = float(str(agreed(scene.fleet.hosts, "rollout_revert_after_s")))
        known_hosts = scene.fleet.known_hosts
        terms = RolloutContext(
            known_hosts,
            lease_s,
            self.soak_s,
            retry=True,
            token=self.lock.tokens.get,
            note=lambda *_given, **_facts: None,
            forget=True,
        )
        work = HostWork(host, seen, wanted_build(seen).id, canary=True, terms=terms)
        try:
            return self._judge(work)
        finally:
            work.close()
            self._discard(scene, work.want)

    def _judge(self, work: HostWork) -> tuple[Found, str]:
        name = work.host.name
        event = work.do(Action(ActionKind.ACTIVATE, name))
        found = Found.BAD
        for _ in range(GATES_MAX):
            if event.kind is EventKind.ACTIVATION_FAILED:
                break
            event = work.do(Action(ActionKind.GATE, name))
            found = VERDICTS.get(event.kind, Found.UNKNOWN)
            if found is not Found.UNKNOWN:
                break
        back = work.do(Action(ActionKind.RETURN, name, "bisect"))
        if back.kind is not EventKind.RETURNED:
            raise ChangeFailed(f"did not go back: {back.reason}", where=name)
        return found, event.reason

    def _discard(self, scene: RolloutSurvey, build: str) -> None:
        (host,) = scene.fleet.hosts
        remote = remote_for(host, scene.fleet.known_hosts)
        try:
            HostProgram(host.name, remote, self.lock.tokens.get(host.name)).call("discard", build)
        finally:
            remote.close()


def repository_of(address: str) -> Path:
    """Return a repository on this machine: a path as it is, a mirror of a URL brought up to date."""
    if address.startswith(("/", "./", "../", "~")):
        return Path(address).expanduser().resolve()
    mirror = user_cache_path("strixfleet") / "llama.cpp"
    local = mirror / f"mirror-{hashlib.sha256(address.encode()).hexdigest()[:16]}.git"
    git.update_mirror(address, local)
    return local


def _commits(scene: RolloutSurvey, good: str, bad: str) -> tuple[tuple[str, str], ...]:
    """List the commits to search, and make sure that the host runs the good one, which is the yardstick."""
    (host,) = scene.fleet.hosts
    seen = scene.good[host.name]
    repository = repository_of(host.settings.llama_cpp_repository)
    first, last = git.resolve(repository, good).commit, git.resolve(repository, bad).commit
    manifest = manifest_of(seen.answers)
    if manifest is None or manifest.commit != first:
        runs = manifest.ref if manifest else "nothing"
        hint = f"`strixfleet upgrade --to {good} -l {host.name}` first"
        raise UsageError(
            f"runs {runs}, not {good}, which is what to compare with", where=host.name, hint=hint
        )
    commits = git.commits_between(repository, first, last)
    if not commits:
        raise UsageError(f"no commit leads from {good} to {bad}", where=str(repository))
    return commits


def search(commits: tuple[tuple[str, str], ...], trials: Trials) -> Search:
    """Try commits until the first bad one is known."""
    order = tuple(commit for commit, _subject in commits)
    known: dict[str, Found] = {}
    step(f"{len(order)} commits: at most {builds_at_most(order)} builds")
    while (commit := Search(order, known).next()) is not None:
        known[commit], reason = trials(commit)
        step(f"{commit[:12]}: {known[commit].value}{f' ({reason})' if reason else ''}")
    return Search(order, known)


def _note(text: str) -> None:
    """Say what the heartbeat noticed; the action under way ends by itself."""
    step(f"heartbeat: {text}")


def _row(name: str, found: Search, subjects: Mapping[str, str]) -> HostReport:
    suspects: list[Json] = [*found.suspects]
    tried: dict[str, Json] = {commit: result.value for commit, result in found.known.items()}
    word = "first bad commit" if len(suspects) == 1 else "the first bad commit is one of"
    notes: list[Json] = [f"{word}: {commit} {subjects[commit]}" for commit in found.suspects]
    return HostReport(name, reachable=True, extra={"suspects": suspects, "tried": tried, "notes": notes})


def _bisect(scene: RolloutSurvey, trials: Trials, lock: FleetLock, ends: tuple[str, str]) -> HostReport:
    """Search under the host's lock."""
    (host,) = scene.fleet.hosts
    commits = _commits(scene, *ends)
    try:
        unreachable = lock.take(scene.fleet.hosts)
        if host.name in unreachable:
            return HostReport.of_error(host.name, unreachable[host.name])
        lock.start()
        return _row(host.name, search(commits, trials), dict(commits))
    finally:
        lock.release()


@click.command()
@fleet_options
@click.argument("good")
@click.argument("bad")
@click.option("--soak", "soak_s", type=FiniteRange(0), default=CANARY_SOAK_S, show_default=True)
def bisect(options: Options, *, good: str, bad: str, soak_s: float) -> ExitCode:
    """
    Find the first commit after GOOD, up to BAD, that does not pass the gate on one host.

    The host has to run GOOD. Each commit that is tried is on trial, and the host goes back after it.
    """
    started = now()
    lock = FleetLock(lambda host: remote_for(host, scene.fleet.known_hosts), _note, _note)
    trials = Trials(options, lock, soak_s)
    scene = trials.scene(good)
    if len(scene.fleet.hosts) != 1:
        raise UsageError("bisect works on one host", hint="name it with --limit")
    (host,) = scene.fleet.hosts
    seen = scene.seen[host.name]
    row = (
        HostReport.of_error(host.name, seen)
        if isinstance(seen, FleetError)
        else _bisect(scene, trials, lock, (good, bad))
    )
    report = finish("bisect", started, [row])
    show(report, as_json=options.as_json, output=options.output)
    return report.exit_code
