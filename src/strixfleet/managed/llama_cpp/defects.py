"""What is known against the pinned build of a host, and against the one that is current there."""

from collections.abc import Iterable
from dataclasses import replace

from strixfleet.findings.items import Cost, Cure, Difference, Status
from strixfleet.inventory.known_defects import (
    ITEM,
    Defect,
    Judgement,
    Use,
    judge,
    known_defects,
    tagged_build,
)
from strixfleet.inventory.schema.settings import LLAMA_CPP_REPOSITORY, HostSettings
from strixfleet.managed.llama_cpp.build import Manifest, same_repository
from strixfleet.managed.machine import Machine
from strixfleet.on_host.questions import Json


PINNED, CURRENT = "pinned", "current"


def defect_rows(
    settings: HostSettings, machine: Machine, pinned_build: int | None, current: Manifest | None
) -> tuple[Difference, ...]:
    """
    Return a row for each defect that the pinned or the current build has; none where all is well.

    `pinned_build` is the number of the pin where the controller knows it. A build without a known number has
    no rows.
    """
    pin, judged = settings.llama_cpp_ref, []
    if pin is not None and pinned_build is not None:
        use = _use(settings, machine, settings.llama_cpp_backend)
        judged.append((PINNED, pin, judge(pinned_build, use)))
    if current is not None and (build := _build_of(current, pin, pinned_build)) is not None:
        use = _use(settings, machine, current.backend)
        judged.append((CURRENT, current.ref, judge(build, use)))
    rows: dict[str, Difference] = {}
    for role, ref, judgement in judged:
        for defect in judgement.defects:
            row = rows.get(defect.item) or _row(defect, judgement, ref)
            rows[row.id] = replace(row, have={**_builds(row), role: ref})
    return tuple(rows.values())


def refused_builds(settings: HostSettings, machine: Machine) -> list[Json]:
    """
    Return the ranges of builds that must not be made for a host, for the module that makes them.

    It knows the number of a commit once it has fetched the source. Each range has its ends, what to say, and
    the last day on which a waiver accepts it.
    """
    use = _use(settings, machine, settings.llama_cpp_backend)
    accepted = {waiver.item: waiver.expires for waiver in settings.audit_waivers}
    rows: list[Json] = []
    for defect in known_defects():
        if defect.refuses and defect.concerns(use):
            judgement = judge(defect.first_bad or (defect.first_good or 2) - 1, use)
            last = accepted.get(defect.item)
            text = f"{judgement.sentence(defect, 'it')}; hint: {judgement.remedy(defect)}"
            row: dict[str, Json] = {"first_bad": defect.first_bad, "first_good": defect.first_good}
            rows.append({**row, "text": text, "accepted_until": last.isoformat() if last else None})
    return rows


def _use(settings: HostSettings, machine: Machine, backend: str) -> Use:
    options = frozenset(name for one in settings.llama_server_instances for name in one.arguments)
    return Use(backend, machine.gfx, options)


def _build_of(current: Manifest, pin: str | None, pinned_build: int | None) -> int | None:
    """
    Return the number of the current build.

    What it was compiled with counts the commits of its repository. That is llama.cpp's number only if the
    repository is llama.cpp's own, fetched with all its history.
    """
    tagged = tagged_build(current.ref)
    if tagged is not None:
        return tagged
    if same_repository(current.repository, LLAMA_CPP_REPOSITORY):
        return current.build_number
    return pinned_build if current.ref == pin else None


def _row(defect: Defect, judgement: Judgement, ref: str) -> Difference:
    good, remedy = judgement.nearest_good, judgement.remedy(defect)
    return Difference(
        id=defect.item,
        status=Status.DRIFT if defect.refuses else Status.OK,
        want="another build" if good is None else f"b{good}",
        have=None,
        cure=Cure.MANUAL,
        cost=Cost.NONE,
        message="; ".join(filter(None, (judgement.sentence(defect, ref), remedy))),
    )


def _builds(row: Difference) -> dict[str, Json]:
    """Return the builds that have a defect, by their role."""
    return row.have if isinstance(row.have, dict) else {}


def unknown_build(ref: str) -> str:
    """Say that nothing can be held against a commit, or a tag such as v0.3.36, of which no mirror is here."""
    return f"the build number of {ref} is not known here, so neither are its known defects"


def refused_pin(rows: Iterable[Difference]) -> tuple[str, ...]:
    """Say why the pin of a host is refused: the defects that no waiver accepts."""
    return tuple(
        row.message
        for row in rows
        if row.id.startswith(ITEM) and row.status is Status.DRIFT and PINNED in _builds(row)
    )
