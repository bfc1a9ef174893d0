"""Ask a host all questions in one command, and read its answers."""

from collections.abc import Iterable

from strixfleet.hosts.host_code import program_argv, read_envelope
from strixfleet.on_host.questions import Answers, Question


def probe_argv(questions: Iterable[Question], *, root: str | None, python: str = "python3") -> list[str]:
    """Return the one command that answers all questions."""
    rows = sorted({(question.verb.value, question.subject) for question in questions})
    return program_argv("ask", {"root": root or "", "questions": [list(row) for row in rows]}, python)


def read_answers(stdout: str, *, host: str, stderr: str = "") -> Answers:
    """Read what the probe printed."""
    answer = read_envelope(stdout, stderr, host=host, failure="its state could not be read")
    return Answers.from_json(answer.data)
