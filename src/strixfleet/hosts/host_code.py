"""Send a program of `on_host/` to a host, run it there once, and read its answer."""

import base64
import json
import zlib
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from strixfleet.errors import ProbeFailed
from strixfleet.on_host import envelope, sources
from strixfleet.on_host.envelope import MARK, Envelope
from strixfleet.on_host.questions import Json


T = TypeVar("T")
_MAP: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])
ARGUMENT_LIMIT_BYTES = 120_000  # one argument of a command may hold 128 KiB on Linux
_RUN = """
import sys,types
for name,text in parcel["modules"]:
 module=types.ModuleType(name)
 module.__package__,module.__path__=name.rpartition(".")[0],[]
 sys.modules[name]=module
 exec(compile(text,name,"exec"),module.__dict__)
sys.modules["on_host.envelope"].serve(module.answer,parcel["request"])
"""


@cache
def _modules(program: str) -> list[tuple[str, str]]:
    """Return (name, text) of the modules that a program needs, itself last."""
    names = dict.fromkeys([*sources.needed("envelope"), *sources.needed(program)])
    return [("on_host", ""), *((f"on_host.{name}", sources.text(sources.path_of(name))) for name in names)]


def program_argv(program: str, request: Json, python: str = "python3") -> list[str]:
    """
    Return the one command that runs `on_host/<program>.py` with a request.

    The program, the modules that it imports and the request travel inside the command: streaming them over
    standard input is slow in invoke (pyinvoke/invoke#774) and collides with sudo's password.
    """
    parcel = {"modules": _modules(program), "request": request}
    packed = base64.b64encode(zlib.compress(json.dumps(parcel).encode(), 9)).decode()
    if len(packed) > ARGUMENT_LIMIT_BYTES:
        message = f"the request to {program} takes {len(packed)} bytes, more than one command can carry"
        raise ProbeFailed(message, hint="ask for less at a time, or divide the host's lists in the inventory")
    unpack = f"import base64,json,zlib;parcel=json.loads(zlib.decompress(base64.b64decode('{packed}')));"
    return [python, "-I", "-c", unpack + f"exec({_RUN!r})"]


def read_envelope(stdout: str, stderr: str, *, host: str, failure: str) -> Envelope:
    """Find the answer in what a program printed; raise ProbeFailed with `failure` where there is none."""
    answer = envelope.received(stdout)
    if answer is None and MARK in stdout:
        raise ProbeFailed(f"{failure}: its answer is damaged", where=host)
    if answer is None:
        said = (stderr.strip() or stdout.strip() or "it printed nothing").splitlines()[-1][:300]
        raise ProbeFailed(f"{failure}: {said}", where=host)
    if not answer.ok:
        raise ProbeFailed(f"{failure}: {answer.text}", where=host)
    return answer


def read_data(
    stdout: str, stderr: str, *, host: str, failure: str = "could not be measured"
) -> dict[str, Any]:
    """Return the data of an answer that is a map; raise ProbeFailed where it is not."""
    answer = read_envelope(stdout, stderr, host=host, failure=failure)
    return read_shape(_MAP, answer.data, host=host, failure=failure)


def read_shape(shape: TypeAdapter[T], data: Json, *, host: str, failure: str) -> T:
    """Return what a host said as a type; raise ProbeFailed with the first field that is wrong."""
    try:
        return shape.validate_python(data, strict=True)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])[:100] or "answer"
        raise ProbeFailed(f"{failure}: unexpected {field}: {first['msg']}", where=host) from None
