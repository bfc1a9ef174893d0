"""`strixfleet advise`: the newest ref that passed the gate on this fleet, and how it differs from the pin."""

from dataclasses import dataclass

import click

from strixfleet.errors import ExitCode, FleetError
from strixfleet.findings.results import HostReport
from strixfleet.findings.run_store import History, history_path
from strixfleet.fleet.controller_files import build_of
from strixfleet.fleet.options import Options, fleet_options
from strixfleet.fleet.session import conclude, finish, load_fleet, now
from strixfleet.inventory.schema.fleet_model import Fleet, Host
from strixfleet.inventory.schema.pin_rules import check_defects
from strixfleet.inventory.schema.rules import accepted_items
from strixfleet.managed.llama_cpp.defects import unknown_build
from strixfleet.on_host.questions import Json
from strixfleet.rollout.advice import Passed, newest_passed
from strixfleet.tools import git


MOST_RUNS = 1000
MOST_COMMITS = 20


def differences(host: Host, ref: str) -> list[Json]:
    """List the commits between a host's pin and a ref, oldest first, or why they are not known."""
    pin = host.settings.llama_cpp_ref
    if pin is None or pin == ref:
        return []
    try:
        repository = git.local_repository(host.settings.llama_cpp_repository)
        first, last = git.resolve(repository, pin).commit, git.resolve(repository, ref).commit
        commits = git.commits_between(repository, first, last)
    except FleetError as error:
        return [f"the commits between {pin} and {ref} are not known: {error.message}"]
    rows: list[Json] = [f"{commit[:12]} {subject}" for commit, subject in commits[-MOST_COMMITS:]]
    return [f"{len(commits)} commits between {pin} and {ref}", *rows]


@dataclass(frozen=True, slots=True)
class KnownAgainst:
    """What is known against a ref on a host, with the nearest good one, and whether that refuses it."""

    refused: bool = False
    lines: tuple[str, ...] = ()


def known_against(host: Host, ref: str | None) -> KnownAgainst:
    """Hold a ref against the known defects, or say that its build number is not known."""
    settings = host.settings
    if ref is None:
        return KnownAgainst()
    build = build_of(settings.llama_cpp_repository, ref)
    if build is None:
        return KnownAgainst(lines=(unknown_build(ref),))
    values = settings.model_dump()
    problems = tuple(check_defects(values, build, accepted_items(values, now().date())))
    refused = any(not problem.warning for problem in problems)
    return KnownAgainst(refused, tuple(f"{problem.message}; {problem.hint}" for problem in problems))


def _row(host: Host, found: Passed | None, changes: list[Json]) -> HostReport:
    pin, advice = host.settings.llama_cpp_ref, found.ref if found else None
    known = {ref: known_against(host, ref) for ref in (pin, advice) if ref is not None}
    if found is None:
        text = "no ref has passed here yet: try one on one host with `strixfleet upgrade --to REF -l CANARY`"
    elif known[found.ref].refused:
        text = f"{found.ref} passed on {found.host} at {found.at}, but is known to be bad"
    elif pin == found.ref:
        text = f"{pin} is the newest that passed here"
    else:
        text = f"{found.ref} passed on {found.host} at {found.at}: `strixfleet upgrade --to {found.ref}`"
    gate: list[Json] = [*found.gate] if found else []
    lines = [line for one in known.values() for line in one.lines]
    extra: dict[str, Json] = {
        "pin": pin,
        "advice": advice,
        "gate": gate,
        "changes_between": changes,
        "known_defects": {ref: [*one.lines] for ref, one in known.items()},
        "notes": [text, *lines, *changes],
    }
    return HostReport(host.name, reachable=True, extra=extra)


def advise_for(fleet: Fleet) -> tuple[HostReport, ...]:
    """Return a row for each host; the history is this controller's."""
    runs = History(history_path()).runs(verbs=("upgrade", "rollback"), most=MOST_RUNS)
    found = newest_passed(runs, (host.name for host in fleet.hosts))
    known: dict[tuple[str, str | None], list[Json]] = {}
    rows = []
    for host in fleet.hosts:
        key = (host.settings.llama_cpp_repository, host.settings.llama_cpp_ref)
        if key not in known:
            known[key] = differences(host, found.ref) if found else []
        rows.append(_row(host, found, known[key]))
    return tuple(rows)


@click.command()
@fleet_options
def advise(options: Options) -> ExitCode:
    """
    Name the newest ref that passed the gate on a host of this fleet, and the commits since the pin.

    Reads this controller's history and the repository; asks no host and changes nothing.
    """
    started = now()
    return conclude(finish("advise", started, advise_for(load_fleet(options))), options)
