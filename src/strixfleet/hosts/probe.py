"""Pack the probe into one command and read what it prints."""

import base64
import json
import zlib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from strixfleet.errors import ProbeFailed
from strixfleet.on_host.questions import Answer, Answers, Ask, Question


SENTINEL = "strixfleet-probe-answers:"
_LIMIT = 120_000  # one argument of a command may hold 128 KiB on Linux


@cache
def _script() -> str:
    return files("strixfleet.on_host").joinpath("ask.py").read_text(encoding="utf-8")


def probe_argv(questions: Iterable[Question], *, root: str | None, python: str = "python3") -> list[str]:
    """
    Return the one command that answers all questions.

    The script and the request travel inside the command: streaming them over standard input is slow in
    invoke (pyinvoke/invoke#774) and collides with sudo's password.
    """
    rows = sorted({(question.verb.value, question.subject) for question in questions})
    request = {"root": root or "", "questions": rows}
    source = f"{_script()}\nmain(json.loads({json.dumps(json.dumps(request))}))\n"
    packed = base64.b64encode(zlib.compress(source.encode(), 9)).decode()
    if len(packed) > _LIMIT:
        raise ProbeFailed(f"the inventory asks for too much at once ({len(packed)} bytes of questions)")
    loader = f"import base64,zlib;exec(zlib.decompress(base64.b64decode('{packed}')))"
    return [python, "-I", "-c", loader]


def read_answers(stdout: str, *, host: str, stderr: str = "") -> Answers:
    """Read what the probe printed."""
    for line in stdout.splitlines():
        if line.startswith(SENTINEL):
            rows = json.loads(line.removeprefix(SENTINEL))
            return Answers({Question(Ask(row[0]), row[1]): Answer(row[2], row[3]) for row in rows})
    reason = (stderr.strip() or stdout.strip() or "it printed nothing").splitlines()[-1][:300]
    raise ProbeFailed(f"its state could not be read: {reason}", where=host)
