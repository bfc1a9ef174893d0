"""The apt source of ours where the machine's own lack a suite; and those of ours that are in apt's way."""

from collections.abc import Iterator, Mapping

from strixfleet.managed.machine import Machine
from strixfleet.managed.platforms.apt_sources import (
    LIST,
    OUR_TAILSCALE,
    PARTS,
    SOURCES_FILE,
    added,
    contradicting,
    mirror_of,
    missing_of,
    sources_of,
)
from strixfleet.managed.platforms.distributions import Distribution
from strixfleet.managed.things.file import Absent, File, Template
from strixfleet.managed.things.thing import Check, Deed, Have, Settled, Thing
from strixfleet.on_host.questions import Answers, Ask, Json, Question


def suites_file(suites: Mapping[str, tuple[str, ...]], known: Distribution, machine: Machine) -> Settled:
    """Offer what the machine's own sources lack, from its own mirror; absent where they have it all."""
    own = f"gpu_stack:{SOURCES_FILE}"

    def choose(answers: Answers) -> Thing:
        sources = sources_of(answers)
        missing = missing_of(sources, suites.items())
        mirror = mirror_of(sources, known.base_suite, machine.os_id)
        rows = added(missing, sources, mirror) if mirror else ()
        if not rows:
            return Absent(id=own, path=SOURCES_FILE, message="the machine's own sources have it all")
        return File(id=own, path=SOURCES_FILE, source=Template(f"host{SOURCES_FILE}.j2", {"added": rows}))

    stated: dict[str, Json] = {suite: [*components] for suite, components in suites.items()}
    questions = (LIST, *PARTS, Question(Ask.DIGEST, SOURCES_FILE))
    return Settled(id=own, statement=stated, choose=choose, questions=questions)


def second_tailscale_source() -> Check:
    """Look for a source of ours beside one of the host's own: apt refuses both."""

    def read(answers: Answers) -> Have:
        error = next((answers[one].error for one in (LIST, *PARTS) if answers[one].error), None)
        return Have(["another source of the same repository"] if contradicting(answers) else [], error)

    def remove(answers: Answers) -> Iterator[Deed]:
        if contradicting(answers):
            yield Deed("absent", {"path": OUR_TAILSCALE})

    return Check(
        id=f"gpu_stack:{OUR_TAILSCALE}",
        wanted=[],
        reader=read,
        questions=(LIST, *PARTS),
        message="the host has a source of its own for it, and apt refuses both",
        steps=remove,
    )
