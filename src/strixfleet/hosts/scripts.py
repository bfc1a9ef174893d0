"""Programs that are sent to a host, run there and forgotten."""

import base64
import json
import zlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from strixfleet.errors import ProbeFailed
from strixfleet.on_host.questions import Json


SENTINEL = "strixfleet-bench:"


@cache
def _packed(script: str) -> str:
    source = files("strixfleet.on_host").joinpath(script).read_text(encoding="utf-8")
    return base64.b64encode(zlib.compress(source.encode(), 9)).decode()


def script_argv(script: str, request: Mapping[str, Json], python: str = "python3") -> list[str]:
    """Return the one command that runs a script with its request; both travel inside it."""
    wish = base64.b64encode(json.dumps(request).encode()).decode()
    loader = (
        "import base64,json,zlib;"
        f"exec(zlib.decompress(base64.b64decode('{_packed(script)}')));"
        f"main(json.loads(base64.b64decode('{wish}')))"
    )
    return [python, "-I", "-c", loader]


def read_answer(stdout: str, *, host: str, stderr: str = "") -> dict[str, Json]:
    """Read what a script printed."""
    for line in stdout.splitlines():
        if line.startswith(SENTINEL):
            answer = json.loads(line.removeprefix(SENTINEL))
            if "answer" in answer:
                return dict(answer["answer"])
            raise ProbeFailed(f"could not be measured: {answer.get('error')}", where=host)
    reason = (stderr.strip() or stdout.strip() or "it printed nothing").splitlines()[-1][:300]
    raise ProbeFailed(f"could not be measured: {reason}", where=host)
