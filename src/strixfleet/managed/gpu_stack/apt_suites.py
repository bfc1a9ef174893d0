"""The apt source of ours where the machine's own lack a suite; and those of ours that are in apt's way."""

from collections.abc import Iterator, Mapping

from strixfleet.managed.machine import Machine
from strixfleet.managed.platforms.apt_sources import (
    OUR_TAILSCALE,
    SOURCES,
    SOURCES_FILE,
    TARGETS,
    added,
    contradicting,
    mirror_of,
    missing_of,
    sources_of,
)
from strixfleet.managed.platforms.distributions import Distribution
from strixfleet.managed.things.file import Absent, File, Template
from strixfleet.managed.things.thing import Check, Deed, Have, Settled, Thing, unread
from strixfleet.on_host.questions import Answers, Ask, Json, Question


CONTRADICTS = "the host has a source of its own for the same repository, and apt refuses both"


def suites_file(suites: Mapping[str, tuple[str, ...]], known: Distribution, machine: Machine) -> Settled:
    """Offer what the machine's own sources lack, from its own mirror; absent where they have it all."""
    own = f"gpu_stack:{SOURCES_FILE}"

    def choose(answers: Answers) -> Thing:
        if SOURCES_FILE in contradicting(answers):
            return Absent(id=own, path=SOURCES_FILE, message=CONTRADICTS)
        if error := unread(answers, SOURCES):
            return Check(id=own, wanted="what the host's sources lack", reader=lambda _: Have(error=error))
        sources = sources_of(answers)
        missing = missing_of(sources, suites.items())
        mirror = mirror_of(sources, known.base_suite, machine.os_id)
        rows = added(missing, sources, mirror) if mirror else ()
        if not rows:
            return Absent(id=own, path=SOURCES_FILE, message="the machine's own sources have it all")
        return File(id=own, path=SOURCES_FILE, source=Template(f"host{SOURCES_FILE}.j2", {"added": rows}))

    stated: dict[str, Json] = {suite: [*components] for suite, components in suites.items()}
    questions = (*SOURCES, Question(Ask.DIGEST, SOURCES_FILE))
    return Settled(id=own, statement=stated, choose=choose, questions=questions)


def second_tailscale_source() -> Check:
    """Look for a source of ours beside one of the host's own: apt refuses both."""

    def read(answers: Answers) -> Have:
        if OUR_TAILSCALE in contradicting(answers):
            return Have(["another source of the same repository"])
        return Have([], answers[TARGETS].error)

    def remove(answers: Answers) -> Iterator[Deed]:
        if OUR_TAILSCALE in contradicting(answers):
            yield Deed("absent", {"path": OUR_TAILSCALE})

    return Check(
        id=f"gpu_stack:{OUR_TAILSCALE}",
        wanted=[],
        reader=read,
        questions=SOURCES,
        message=CONTRADICTS,
        steps=remove,
    )
