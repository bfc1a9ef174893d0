"""Recorded hosts in order, and what they come to after some of their answers changed."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from strixfleet.managed.compiled import DesiredState, compile_host, questions_for
from strixfleet.managed.facts import ControllerFacts
from strixfleet.on_host.questions import Answer, Answers, Ask, Json, Question
from tests.cases.aspect_cases import BASELINES, Case, load_case


NAMES = tuple(sorted(path.stem for path in BASELINES.glob("*.yml")))


@cache
def healthy(name: str = "debian_13") -> Case:
    """Return a recorded host in order."""
    return load_case(BASELINES / f"{name}.yml")


@cache
def asked_of(name: str = "debian_13") -> tuple[Question, ...]:
    """Return all that is asked of it."""
    return tuple(sorted(questions_for(healthy(name).host)))


def changed(
    case: Case, answers: Mapping[Question, Answer] | None = None, settings: Mapping[str, Json] | None = None
) -> Case:
    """Return the host with other answers and other settings."""
    recorded = {**case.recorded, **(answers or {})}
    return replace(case, settings={**case.settings, **(settings or {})}, recorded=recorded)


def said(verb: Ask, subject: str, value: Json) -> dict[Question, Answer]:
    """Return one answer."""
    return {Question(verb, subject): Answer(value)}


def with_answer(name: str, question: Question, answer: Answer) -> tuple[DesiredState, Answers]:
    """Return desired state and answers of a host in order after one answer changed."""
    case = healthy(name)
    answers = Answers({one: case.recorded[one] for one in asked_of(name)} | {question: answer})
    return compile_host(case.host, answers, ControllerFacts()), answers
