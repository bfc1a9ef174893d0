"""Find the first bad commit on one host: build a commit, run it on trial, judge it by the gate, return."""

import json
from dataclasses import dataclass, replace

from strixfleet.errors import ChangeFailed, FleetError, UsageError
from strixfleet.fleet.options import Options
from strixfleet.fleet.progress import step
from strixfleet.hosts.connections import Connections
from strixfleet.hosts.host_program import HostProgram
from strixfleet.inventory.schema.pin import KEY
from strixfleet.rollout.bisection import Found, Search, builds_at_most
from strixfleet.rollout.fleet_lock import FleetLock
from strixfleet.rollout.host_work import HostWork, RolloutContext
from strixfleet.rollout.rollout_state import Action, ActionKind, EventKind
from strixfleet.rollout.stage import Stage
from strixfleet.rollout.survey import PinnedFleet, SurveyedHost, agreed_lease_s, load_pinned, survey
from strixfleet.tools import git


GATES_MAX = 3
VERDICTS = {EventKind.GATE_PASSED: Found.GOOD, EventKind.GATE_FAILED: Found.BAD}
Commits = tuple[tuple[str, str], ...]  # hash and subject, oldest first


def load_at(options: Options, ref: str) -> PinnedFleet:
    """Load the one selected host as if it were pinned to a ref."""
    pinned = load_pinned(replace(options, extra_vars=(*options.extra_vars, json.dumps({KEY: ref}))), None)
    if len(pinned.fleet.hosts) != 1:
        raise UsageError("bisect works on one host", hint="name it with --limit")
    return pinned


def commits_to_search(one: SurveyedHost, good: str, bad: str) -> Commits:
    """List the commits after `good` up to `bad`; the host has to run `good`, to be compared with."""
    repository = git.local_repository(one.host.settings.llama_cpp_repository)
    first, last = git.resolve(repository, good).commit, git.resolve(repository, bad).commit
    manifest = one.seen.current_manifest
    if manifest is None or manifest.commit != first:
        runs = manifest.ref if manifest else "no build"
        hint = f"run `strixfleet upgrade --to {good} -l {one.host.name}` first"
        raise UsageError(f"runs {runs}, but bisect compares with {good}", where=one.host.name, hint=hint)
    commits = git.commits_between(repository, first, last)
    if not commits:
        hint = "name an ancestor as GOOD and one of its descendants as BAD"
        raise UsageError(f"no commit leads from {good} to {bad}", where=str(repository), hint=hint)
    return commits


@dataclass(frozen=True, slots=True)
class CommitTrials:
    """Tries commits on one host under its lock; the host is returned afterwards and remembers none as bad."""

    options: Options
    connections: Connections
    lock: FleetLock
    soak_s: float

    def search(self, commits: Commits) -> Search:
        """Try commits until the first bad one is known."""
        order = tuple(commit for commit, _subject in commits)
        known: dict[str, Found] = {}
        step(f"{len(order)} commits: at most {builds_at_most(order)} builds")
        while (commit := Search(order, known).next()) is not None:
            known[commit], reason = self.judge(commit)
            step(f"{commit[:12]}: {known[commit].value}{f' ({reason})' if reason else ''}")
        return Search(order, known)

    def judge(self, commit: str) -> tuple[Found, str]:
        """Build a commit, activate it on trial, run the gate, return; say what it is, and why."""
        found = survey(load_at(self.options, commit), self.connections)
        ((name, one),) = found.hosts.items()
        if isinstance(one, FleetError):
            raise one
        staged = Stage(found, self.connections, self.lock.tokens.get, accept_defects=True)([name])[name]
        if staged.kind is EventKind.LOST:
            raise ChangeFailed(staged.reason, where=name)
        if staged.kind is not EventKind.STAGED:
            return Found.UNKNOWN, staged.reason
        context = RolloutContext(
            self.connections,
            found.fleet.known_hosts,
            lease_s=agreed_lease_s(found.fleet),
            soak_s=self.soak_s,
            retry=True,
            token=self.lock.tokens.get,
            note=lambda _host, **_facts: None,
        )
        work = HostWork(one, canary=True, context=context)
        try:
            return _judge(work)
        finally:
            work.close()
            program = HostProgram(name, self.connections.to(one.host), self.lock.tokens.get(name))
            program.call("discard", work.want)


def _judge(work: HostWork) -> tuple[Found, str]:
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
        raise ChangeFailed(f"was not returned to the previous build: {back.reason}", where=name)
    return found, event.reason
