"""The compiled state of a host as roles take it: made by the play, or by the command and handed to it."""

from collections.abc import Iterable

from strixfleet.findings.items import Difference, Status
from strixfleet.findings.runs import maps_in
from strixfleet.managed.compiled import DesiredState
from strixfleet.on_host.questions import Answers, Json


_KNOWN = frozenset({Status.OK, Status.WAIVED})


def state_for_roles(
    state: DesiredState, answers: Answers, rows: Iterable[Difference], revision: str | None
) -> dict[str, Json]:
    """
    Return the variables of a play.

    `deeds` are {role: {kind: [arguments]}}; `recorded` is what is written on the host once all is applied;
    `problems` is what keeps the host from being provisioned at all.
    """
    deeds = state.deeds(answers)
    differing = [row for row in rows if row.status not in _KNOWN]
    return {
        "deeds": {aspect: {**kinds} for aspect, kinds in deeds.items()},
        "problems": [one["text"] for kinds in deeds.values() for one in maps_in(kinds.get("problem"))],
        "recorded": {**state.recorded, "revision": revision},
        "applied_stale": state.since_applied != "same",
        "simulated": state.facts.simulated or "",
        "kernel_root": state.host.settings.sandbox_hardware_root or "",
        "boot_id": state.facts.boot_id,
        "differences": [row.to_json() for row in differing],
        "reboot_due": any(row.status is Status.PENDING_REBOOT for row in differing),
    }
