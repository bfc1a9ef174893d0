"""`strixfleet advise`: the newest ref that passed the gate on this fleet, and how it differs from the pin."""

import click

from strixfleet.errors import ExitCode, FleetError
from strixfleet.findings.results import HostReport
from strixfleet.findings.run_store import History, history_path
from strixfleet.fleet.options import Options, fleet_options
from strixfleet.fleet.session import conclude, finish, load_fleet, now
from strixfleet.inventory.schema.fleet_model import Fleet, Host
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


def _row(host: Host, found: Passed | None, changes: list[Json]) -> HostReport:
    pin = host.settings.llama_cpp_ref
    if found is None:
        text = "no ref has passed here yet: try one on one host with `strixfleet upgrade --to REF -l CANARY`"
    elif pin == found.ref:
        text = f"{pin} is the newest that passed here"
    else:
        text = f"{found.ref} passed on {found.host} at {found.at}: `strixfleet upgrade --to {found.ref}`"
    gate: list[Json] = [*found.gate] if found else []
    advice = found.ref if found else None
    extra: dict[str, Json] = {"pin": pin, "advice": advice, "gate": gate, "changes_between": changes}
    return HostReport(host.name, reachable=True, extra={**extra, "notes": [text, *changes]})


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
