"""What a rollout says of itself: the waves beforehand, the outcome of each host afterwards."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from strixfleet.errors import ExitCode, FleetError
from strixfleet.findings.results import HostReport, Report
from strixfleet.fleet.progress import say
from strixfleet.fleet.session import ProbedHost, finish
from strixfleet.managed.llama_server.server_options import inventory_line
from strixfleet.on_host.questions import Json
from strixfleet.rollout.journal import Journal
from strixfleet.rollout.planned_builds import wanted_build
from strixfleet.rollout.rollout_state import ENDS, FAILURES, HostPhase, HostProgress, Rollout


class Surveyed(Protocol):
    """What is known of the hosts beforehand."""

    @property
    def seen(self) -> Mapping[str, ProbedHost | FleetError]:
        """Return what was seen of each host."""
        ...

    @property
    def wants(self) -> Mapping[str, Json]:
        """Return the build that each host is to run."""
        ...


CurrentBuilds = Mapping[str, str | None]


def show_waves(state: Rollout, scene: Surveyed, current_builds: CurrentBuilds) -> None:
    """Say who goes when, from which build to which."""
    for number, wave in enumerate(state.waves):
        say(f"wave {number}: canary" if number == 0 else f"wave {number}")
        for name in wave:
            one = scene.seen[name]
            if isinstance(one, FleetError):
                say(f"  {name}: {one.message}")
            elif current_builds.get(name) == scene.wants.get(name):
                say(f"  {name}: runs {current_builds.get(name)} already")
            else:
                say(f"  {name}: {current_builds.get(name) or 'nothing'} → {scene.wants.get(name)}")


def report_of(
    state: Rollout, scene: Surveyed, current_builds: CurrentBuilds, journal: Journal | None, started: datetime
) -> Report:
    """Return the report; hosts that were never begun with count as skipped, and as failed after a halt."""
    notes = journal.notes if journal else {}
    rows = [
        _row(one, scene, current_builds.get(one.name), notes.get(one.name, {}))
        for one in state.members.values()
    ]
    if state.halted:
        skipped = HostPhase.SKIPPED.value
        rows = [
            replace(row, code=ExitCode.FAILED) if row.extra["outcome"] == skipped else row for row in rows
        ]
    return finish("upgrade", started, rows)


def dry_run_report(
    state: Rollout, scene: Surveyed, current_builds: CurrentBuilds, started: datetime
) -> Report:
    """Return the report of check mode: a host that does not run its pin needs attention."""
    rows = []
    for member in state.members.values():
        row = _row(member, scene, current_builds.get(member.name), {})
        behind = current_builds.get(member.name) != scene.wants.get(member.name)
        rows.append(replace(row, code=ExitCode.ATTENTION) if behind and row.code is ExitCode.OK else row)
    return finish("upgrade", started, rows)


def _row(member: HostProgress, scene: Surveyed, before: str | None, notes: Mapping[str, Json]) -> HostReport:
    standing = member.standing if member.standing in ENDS else HostPhase.SKIPPED
    one = scene.seen[member.name]
    if isinstance(one, FleetError) and standing is HostPhase.SKIPPED:
        standing = HostPhase.UNREACHABLE
    failed = standing in FAILURES
    want = scene.wants.get(member.name)
    noted = notes.get("from", before)  # a rollout that was taken up again finds the new build there
    old = noted if isinstance(noted, str) else None
    extra: dict[str, Json] = {
        "outcome": standing.value,
        "from": old,
        "to": want,
        "ref": wanted_build(one).ref if isinstance(one, ProbedHost) else None,
        "downtime_s": notes.get("downtime_s", 0.0 if standing is HostPhase.UNCHANGED else None),
        "gate": notes.get("gate", []),
        "reason": member.reason,
        "notes": [_sentence(standing, old, want, notes), *_spellings(standing, notes)],
    }
    untouched = isinstance(one, FleetError) and member.reason in {"", one.message}
    if isinstance(one, FleetError) and standing is HostPhase.UNREACHABLE and untouched:
        return HostReport.of_error(member.name, one, extra=extra)
    return HostReport(
        member.name,
        reachable=standing is not HostPhase.UNREACHABLE,
        error=(member.reason or standing.value) if failed else None,
        simulated=one.state.facts.simulated if isinstance(one, ProbedHost) else None,
        extra=extra,
        code=ExitCode.FAILED if failed else ExitCode.OK,
    )


def _spellings(standing: HostPhase, notes: Mapping[str, Json]) -> list[Json]:
    """Say what the new build is told otherwise than the inventory has it, and what to write there."""
    renamed = notes.get("renamed")
    if standing is not HostPhase.UPGRADED or not isinstance(renamed, list):
        return []
    rows = [row for row in renamed if isinstance(row, list)]
    return [
        f"{instance}: the inventory still says `{inventory_line(str(old))}`, which may stay; "
        f"today one would write `{inventory_line(str(new))}`"
        for instance, old, new in rows
    ]


def _sentence(standing: HostPhase, before: str | None, want: Json, notes: Mapping[str, Json]) -> str:
    down = notes.get("downtime_s")
    waited = f", {down:.1f} s without an answer" if isinstance(down, int | float) else ""
    after = notes.get("after")
    texts = {
        HostPhase.UPGRADED: f"upgraded: {before or 'nothing'} → {want}{waited}",
        HostPhase.UNCHANGED: f"unchanged: runs {want}",
        HostPhase.RETURNED: f"returned: {after or f'runs {before} again'}{waited}",
        HostPhase.FAILED: "failed",
        HostPhase.UNREACHABLE: "unreachable; a host on trial goes back by itself when its lease is over",
        HostPhase.SKIPPED: f"not touched: runs {before or 'nothing'}",
    }
    return texts[standing]
