"""What a rollout shows: the waves beforehand, the outcome of each host afterwards."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from strixfleet.errors import ExitCode, FleetError
from strixfleet.findings.results import HostReport, Report
from strixfleet.fleet.progress import say
from strixfleet.fleet.session import finish
from strixfleet.managed.llama_server.server_options import inventory_line
from strixfleet.on_host.questions import Json
from strixfleet.rollout.host_notes import HostNotes
from strixfleet.rollout.rollout_state import ENDS, FAILURES, HostPhase, HostProgress, Rollout
from strixfleet.rollout.survey import RolloutSurvey, SurveyedHost


def show_waves(state: Rollout, survey: RolloutSurvey) -> None:
    """Show which hosts go when, from which build to which."""
    for number, wave in enumerate(state.waves):
        say(f"wave {number}: canary" if number == 0 else f"wave {number}")
        for name in wave:
            one = survey.hosts[name]
            if isinstance(one, FleetError):
                say(f"  {name}: {one.message}")
            elif one.runs_its_pin:
                say(f"  {name}: runs {one.want.id} already")
            else:
                say(f"  {name}: {one.seen.current_build or 'nothing'} → {one.want.id}")


def report_of(
    state: Rollout, survey: RolloutSurvey, notes: Mapping[str, HostNotes], started: datetime
) -> Report:
    """Return the report of a rollout; after a halt, hosts that were skipped count as failed."""
    rows = []
    for member in state.members.values():
        row = _row(member, survey.hosts[member.name], notes.get(member.name, HostNotes()))
        skipped = _outcome(member, survey.hosts[member.name]) is HostPhase.SKIPPED
        rows.append(replace(row, code=ExitCode.FAILED) if state.halted and skipped else row)
    return finish("upgrade", started, rows)


def report_of_check(state: Rollout, survey: RolloutSurvey, started: datetime) -> Report:
    """Return the report of check mode: a host that does not run its pin needs attention."""
    rows = []
    for member in state.members.values():
        one = survey.hosts[member.name]
        row = _row(member, one, HostNotes())
        behind = isinstance(one, SurveyedHost) and not one.runs_its_pin
        rows.append(replace(row, code=ExitCode.ATTENTION) if behind else row)
    return finish("upgrade", started, rows)


def _outcome(member: HostProgress, one: SurveyedHost | FleetError) -> HostPhase:
    if member.phase in ENDS and member.phase is not HostPhase.SKIPPED:
        return member.phase
    return HostPhase.UNREACHABLE if isinstance(one, FleetError) else HostPhase.SKIPPED


def _row(member: HostProgress, one: SurveyedHost | FleetError, notes: HostNotes) -> HostReport:
    outcome = _outcome(member, one)
    answered = one if isinstance(one, SurveyedHost) else None
    want = answered.want.id if answered else None
    # A rollout that was resumed finds the new build current on hosts that it had activated.
    current = answered.seen.current_build if answered else None
    old = notes.build_before if member.activated else current
    extra: dict[str, Json] = {
        "outcome": outcome.value,
        "from": old,
        "to": want,
        "ref": answered.want.ref if answered else None,
        "downtime_s": 0.0 if outcome is HostPhase.UNCHANGED else notes.downtime_s,
        "gate": [check.to_json() for check in notes.gate],
        "reason": member.reason,
        "notes": [_sentence(outcome, old, want, notes), *_renamed_options(outcome, notes)],
    }
    if isinstance(one, FleetError) and outcome is HostPhase.UNREACHABLE and not member.activated:
        return HostReport.of_error(member.name, one, extra=extra)
    failed = outcome in FAILURES
    return HostReport(
        member.name,
        reachable=outcome is not HostPhase.UNREACHABLE,
        error=(member.reason or outcome.value) if failed else None,
        simulated=answered.seen.state.facts.simulated if answered else None,
        extra=extra,
        code=ExitCode.FAILED if failed else ExitCode.OK,
    )


def _renamed_options(outcome: HostPhase, notes: HostNotes) -> list[Json]:
    """Name the options whose old names the inventory still has, and what to write instead."""
    if outcome is not HostPhase.UPGRADED:
        return []
    return [
        f"{one.instance}: the inventory still says `{inventory_line(one.old)}`, which keeps working; "
        f"for this build you can write `{inventory_line(one.new)}`"
        for one in notes.renamed
    ]


def _sentence(outcome: HostPhase, before: str | None, want: str | None, notes: HostNotes) -> str:
    down = "" if notes.downtime_s is None else f", {notes.downtime_s:.1f} s without an answer"
    runs_now = "not serving: there was no previous build" if notes.serves_nothing else f"runs {before} again"
    match outcome:
        case HostPhase.UPGRADED:
            return f"upgraded: {before or 'nothing'} → {want}{down}"
        case HostPhase.UNCHANGED:
            return f"unchanged: runs {want}"
        case HostPhase.RETURNED:
            return f"returned: {runs_now}{down}"
        case HostPhase.UNREACHABLE:
            return "unreachable; a build on trial reverts by itself when its lease is over"
        case HostPhase.SKIPPED:
            return f"not touched: runs {before or 'nothing'}"
        case _:
            return "failed"
