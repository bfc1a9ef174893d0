"""What a rollout says of itself: the waves beforehand, the outcome of each host afterwards."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from strixfleet.adapters.journal import Journal
from strixfleet.commands.rollout_plan import wanted_build
from strixfleet.commands.session import Seen, finish
from strixfleet.core.questions import Json
from strixfleet.core.results import HostReport, Report
from strixfleet.core.rollout_state import ENDS, FAILURES, Member, Rollout, Standing
from strixfleet.core.server_options import inventory_line
from strixfleet.errors import ExitCode, FleetError
from strixfleet.report.progress import say


class Surveyed(Protocol):
    """What is known of the hosts beforehand."""

    @property
    def seen(self) -> Mapping[str, Seen | FleetError]:
        """Give what was seen of each host."""
        ...

    @property
    def wants(self) -> Mapping[str, Json]:
        """Give the build that each host is to run."""
        ...


Froms = Mapping[str, str | None]


def show_waves(state: Rollout, scene: Surveyed, froms: Froms) -> None:
    """Say who goes when, from which build to which."""
    for number, wave in enumerate(state.waves):
        say(f"wave {number}: canary" if number == 0 else f"wave {number}")
        for name in wave:
            one = scene.seen[name]
            if isinstance(one, FleetError):
                say(f"  {name}: {one.message}")
            elif froms.get(name) == scene.wants.get(name):
                say(f"  {name}: runs {froms.get(name)} already")
            else:
                say(f"  {name}: {froms.get(name) or 'nothing'} → {scene.wants.get(name)}")


def report_of(
    state: Rollout, scene: Surveyed, froms: Froms, journal: Journal | None, started: datetime
) -> Report:
    """Give the report; hosts that were never begun with count as skipped, and as failed after a halt."""
    notes = journal.notes if journal else {}
    rows = [_row(one, scene, froms.get(one.name), notes.get(one.name, {})) for one in state.members.values()]
    if state.halted:
        skipped = Standing.SKIPPED.value
        rows = [
            replace(row, code=ExitCode.FAILED) if row.extra["outcome"] == skipped else row for row in rows
        ]
    return finish("upgrade", started, rows)


def foretold(state: Rollout, scene: Surveyed, froms: Froms, started: datetime) -> Report:
    """Give the report of check mode: a host that does not run its pin needs attention."""
    rows = []
    for member in state.members.values():
        row = _row(member, scene, froms.get(member.name), {})
        behind = froms.get(member.name) != scene.wants.get(member.name)
        rows.append(replace(row, code=ExitCode.ATTENTION) if behind and row.code is ExitCode.OK else row)
    return finish("upgrade", started, rows)


def _row(member: Member, scene: Surveyed, before: str | None, notes: Mapping[str, Json]) -> HostReport:
    standing = member.standing if member.standing in ENDS else Standing.SKIPPED
    one = scene.seen[member.name]
    if isinstance(one, FleetError) and standing is Standing.SKIPPED:
        standing = Standing.UNREACHABLE
    failed = standing in FAILURES
    want = scene.wants.get(member.name)
    noted = notes.get("from", before)  # a rollout that was taken up again finds the new build there
    old = noted if isinstance(noted, str) else None
    extra: dict[str, Json] = {
        "outcome": standing.value,
        "from": old,
        "to": want,
        "ref": wanted_build(one).ref if isinstance(one, Seen) else None,
        "downtime_s": notes.get("downtime_s", 0.0 if standing is Standing.UNCHANGED else None),
        "gate": notes.get("gate", []),
        "reason": member.reason,
        "notes": [_sentence(standing, old, want, notes), *_spellings(standing, notes)],
    }
    untouched = isinstance(one, FleetError) and member.reason in {"", one.message}
    if isinstance(one, FleetError) and standing is Standing.UNREACHABLE and untouched:
        return HostReport.of_error(member.name, one, extra=extra)
    return HostReport(
        member.name,
        reachable=standing is not Standing.UNREACHABLE,
        error=(member.reason or standing.value) if failed else None,
        simulated=one.state.facts.simulated if isinstance(one, Seen) else None,
        extra=extra,
        code=ExitCode.FAILED if failed else ExitCode.OK,
    )


def _spellings(standing: Standing, notes: Mapping[str, Json]) -> list[Json]:
    """Say what the new build is told otherwise than the inventory has it, and what to write there."""
    renamed = notes.get("renamed")
    if standing is not Standing.UPGRADED or not isinstance(renamed, list):
        return []
    rows = [row for row in renamed if isinstance(row, list)]
    return [
        f"{instance}: the inventory still says `{inventory_line(str(old))}`, which may stay; "
        f"today one would write `{inventory_line(str(new))}`"
        for instance, old, new in rows
    ]


def _sentence(standing: Standing, before: str | None, want: Json, notes: Mapping[str, Json]) -> str:
    down = notes.get("downtime_s")
    waited = f", {down:.1f} s without an answer" if isinstance(down, int | float) else ""
    after = notes.get("after")
    texts = {
        Standing.UPGRADED: f"upgraded: {before or 'nothing'} → {want}{waited}",
        Standing.UNCHANGED: f"unchanged: runs {want}",
        Standing.RETURNED: f"returned: {after or f'runs {before} again'}{waited}",
        Standing.FAILED: "failed",
        Standing.UNREACHABLE: "unreachable; a host on trial goes back by itself when its lease is over",
        Standing.SKIPPED: f"not touched: runs {before or 'nothing'}",
    }
    return texts[standing]
