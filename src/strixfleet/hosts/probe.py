"""Ask a host all questions in one command, and read its answers."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from strixfleet.errors import ProbeFailed
from strixfleet.hosts.host_code import program_argv, read_envelope, read_shape
from strixfleet.on_host.questions import Answer, Answers, Ask, Json, Question


class _Stat(TypedDict):
    size_bytes: int
    mtime_ns: int
    inode: int
    mode: str
    owner: str
    group: str
    directory: bool


class _Account(TypedDict):
    uid: int
    shell: str
    home: str
    groups: list[str]


class _Reply(TypedDict):
    status: int
    body: Any


_Texts = dict[str, str]
_ROWS: TypeAdapter[list[list[Any]]] = TypeAdapter(list[list[Any]])
_VERBS = frozenset(verb.value for verb in Ask)
# What each verb answers; another form is an answer that could not be read, so that no reader has to doubt it.
_SHAPES: Mapping[Ask, TypeAdapter[Any]] = {
    Ask.READ: TypeAdapter(str | None),
    Ask.GLOB: TypeAdapter(dict[str, str | None]),
    Ask.NAMES: TypeAdapter(list[str] | None),
    Ask.DIGEST: TypeAdapter(_Texts | None),
    Ask.STAT: TypeAdapter(_Stat | None),
    Ask.TREE: TypeAdapter(_Texts | None),
    Ask.LINK: TypeAdapter(str | None),
    Ask.UNIT: TypeAdapter(_Texts | None),
    Ask.PACKAGE: TypeAdapter(str | None),
    Ask.USER: TypeAdapter(_Account | None),
    Ask.SPACE: TypeAdapter(int),
    Ask.HTTP: TypeAdapter(_Reply),
    Ask.RUN: TypeAdapter(str | None),
    Ask.PARAMETERS: TypeAdapter(list[str] | None),
    Ask.WRITABLE: TypeAdapter(_Texts),
    Ask.COPIES: TypeAdapter(_Texts),
}
FAILURE = "its state could not be read"


def probe_argv(questions: Iterable[Question], *, root: str | None, python: str = "python3") -> list[str]:
    """Return the one command that answers all questions."""
    rows = sorted({(question.verb.value, question.subject) for question in questions})
    return program_argv("ask", {"root": root or "", "questions": [list(row) for row in rows]}, python)


def read_answers(stdout: str, *, host: str, stderr: str = "") -> Answers:
    """Read what the probe printed."""
    answer = read_envelope(stdout, stderr, host=host, failure=FAILURE)
    rows = read_shape(_ROWS, answer.data, host=host, failure=FAILURE)
    return Answers(dict(_answer(row, host) for row in rows))


def _answer(row: list[Any], host: str) -> tuple[Question, Answer]:
    match row:
        case [str(verb), str(subject), value, None | str() as error] if verb in _VERBS:
            question = Question(Ask(verb), subject)
            return question, _checked(question, value) if error is None else Answer(
                error=error or "it failed"
            )
        case _:
            raise ProbeFailed(f"{FAILURE}: a row of its answer has an unexpected form", where=host)


def _checked(question: Question, value: Json) -> Answer:
    try:
        _SHAPES[question.verb].validate_python(value, strict=True)
    except ValidationError:
        return Answer(error="the answer has an unexpected form")
    return Answer(value)
