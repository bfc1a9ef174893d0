"""The compiled state of a host as roles take it: made by the play, or by the command and handed to it."""

from collections.abc import Iterable, Iterator

from strixfleet.findings.items import Difference, Status
from strixfleet.findings.runs import maps_in
from strixfleet.managed.compiled import DesiredState
from strixfleet.managed.llama_cpp.defects import refused_pin
from strixfleet.on_host.questions import Answers, Json


RETIRED = "retired_server"
_KNOWN = frozenset({Status.OK, Status.WAIVED})
_YES = frozenset({"yes", "true", "on", "1"})

Deeds = dict[str, dict[str, list[Json]]]


def state_for_roles(
    state: DesiredState,
    answers: Answers,
    rows: Iterable[Difference],
    revision: str | None,
    retire: Json = None,
) -> dict[str, Json]:
    """
    Return the variables of a play.

    `deeds` are {role: {kind: [arguments]}}; `recorded` is what is written on the host once all is applied;
    `problems` is what keeps the host from being provisioned at all. `retire` is the consent to take away
    servers that left the inventory: yes, or the names of instances.
    """
    deeds, rows = state.deeds(answers), tuple(rows)
    for aspect, problem in [*_unrecognised(state), *_kept(deeds, retire), *_bad_build(deeds, rows)]:
        deeds[aspect].setdefault("problem", []).append({"text": problem})
    differing = [row for row in rows if row.status not in _KNOWN]
    problems = [str(one["text"]) for kinds in deeds.values() for one in maps_in(kinds.get("problem"))]
    found: dict[str, Json] = {
        "deeds": {aspect: {**kinds} for aspect, kinds in deeds.items()},
        "problems": [*dict.fromkeys(problems)],
        "recorded": {**state.recorded, "revision": revision},
        "applied_stale": state.since_applied != "same",
        "simulated": state.facts.simulated or "",
        "kernel_root": state.host.settings.sandbox_hardware_root or "",
        "boot_id": state.facts.boot_id,
        "differences": [row.to_json() for row in differing],
        "reboot_due": any(row.status is Status.PENDING_REBOOT for row in differing),
    }
    return found


def retired_servers(state: DesiredState, answers: Answers) -> list[str]:
    """Name the servers of the host that left the inventory."""
    return [
        str(deed.arguments["name"])
        for deed in state.deeds_of("llama_server", answers)
        if deed.kind == RETIRED
    ]


def _unrecognised(state: DesiredState) -> Iterator[tuple[str, str]]:
    """Refuse, for every role, a machine of which neither its hardware nor the inventory tells what it is."""
    if state.machine.profile is None and state.host.settings.hardware_profile == "auto":
        for aspect in state.things:
            yield aspect, f"the hardware is not recognised: {state.machine.reason}"


def _bad_build(deeds: Deeds, rows: Iterable[Difference]) -> Iterator[tuple[str, str]]:
    """Refuse to build what is known to be bad; what runs already is left to the audit."""
    if any(one["install"] for one in maps_in(deeds["llama_cpp"].get("build"))):
        yield from (("llama_cpp", reason) for reason in refused_pin(rows))


def _kept(deeds: Deeds, retire: Json) -> Iterator[tuple[str, str]]:
    """Refuse to take away servers without consent, all or none: a slip may have lost their names."""
    kinds = deeds["llama_server"]
    names = [str(one["name"]) for one in maps_in(kinds.get(RETIRED))]
    if all(_may_go(name, retire) for name in names):
        return
    del kinds[RETIRED]
    said = f"served here, but not in llama_server_instances: {', '.join(names)}"
    yield (
        "llama_server",
        f"{said}; hint: write them there, or have them taken away with -e strixfleet_retire=yes",
    )


def _may_go(name: str, retire: Json) -> bool:
    """Tell whether a server may be taken away: everyone agreed to, or this one by name."""
    if isinstance(retire, list):
        return name in retire
    said = str(retire or "").lower()
    return said in _YES or name in [part.strip() for part in str(retire or "").split(",")]
