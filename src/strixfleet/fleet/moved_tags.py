"""
Look whether the tags that hosts were built from still name the same commits.

A host that runs its pin has nothing to build, and what is not built is not compared: a moved tag would
pass as unchanged.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from strixfleet.errors import FleetError, UsageError
from strixfleet.findings.items import Cure, Difference, Status
from strixfleet.fleet.progress import say
from strixfleet.fleet.session import ProbedHost
from strixfleet.managed.llama_cpp.aspect import build_for
from strixfleet.managed.llama_cpp.build import Pinned
from strixfleet.tools import git


CURRENT = "llama_cpp:current"
HINT = "find out why, then pin the 40-digit commit that you trust"


@dataclass(frozen=True, slots=True)
class BuiltFrom:
    """The pin that a host runs, which is a tag, and the commit that it named when it was built there."""

    pin: Pinned
    commit: str


def built_from_tag(seen: ProbedHost) -> BuiltFrom | None:
    """Return what a host was built from; None unless it runs the pin of the inventory, and that is a tag."""
    build = build_for(seen.state.host.settings, seen.state.machine)
    manifest = seen.current_manifest
    if build is None or manifest is None or seen.current_build != build.id or manifest.ref != build.ref:
        return None
    pin = Pinned(build.repository, build.ref)
    return None if git.COMMIT.match(pin.ref) else BuiltFrom(pin, manifest.commit)


def moved_tags(hosts: Iterable[ProbedHost]) -> dict[str, str]:
    """Return {host: how its tag has moved}; say so where a tag cannot be looked up."""
    found = {seen.state.host.name: built for seen in hosts if (built := built_from_tag(seen)) is not None}
    commits = {pin: _commit_of(pin) for pin in dict.fromkeys(built.pin for built in found.values())}
    return {
        name: f"tag {built.pin.ref} has moved: this host was built from {built.commit}, now it names {now}"
        for name, built in found.items()
        if (now := commits[built.pin]) not in {None, built.commit}
    }


def _commit_of(pin: Pinned) -> str | None:
    try:
        commit = git.tag_at(pin.repository, pin.ref)
    except FleetError as problem:
        say(f"warning: could not look up whether tag {pin.ref} has moved: {problem}")
        return None
    if commit is None:
        say(f"warning: {pin.repository} has no tag {pin.ref} any more")
    return commit


def refuse_moved_tags(hosts: Iterable[ProbedHost]) -> None:
    """Raise UsageError where a tag has moved."""
    for name, problem in moved_tags(hosts).items():
        raise UsageError(problem, where=name, hint=HINT)


def with_moved_tags(
    probed: Mapping[str, ProbedHost | FleetError],
) -> dict[str, ProbedHost | FleetError]:
    """Return what was found, with each moved tag as drift of the current build."""
    problems = moved_tags(one for one in probed.values() if isinstance(one, ProbedHost))
    return {
        name: _with_drift(one, problems[name]) if name in problems and isinstance(one, ProbedHost) else one
        for name, one in probed.items()
    }


def _with_drift(seen: ProbedHost, problem: str) -> ProbedHost:
    rows = tuple(_moved(row, problem) if row.id == CURRENT else row for row in seen.differences)
    return replace(seen, differences=rows)


def _moved(row: Difference, problem: str) -> Difference:
    if row.status is not Status.OK:
        return row
    return replace(row, status=Status.DRIFT, cure=Cure.MANUAL, message=f"{problem}; {HINT}")
