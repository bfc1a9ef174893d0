"""Run a program on a host: without a shell, without input, and never for ever."""

from __future__ import annotations

import os
import subprocess
from typing import Any, NamedTuple

from .files import said_of


PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATH, "LC_ALL": "C.UTF-8"}
NOT_RUN = -1
HELP_TIMEOUT_S = 60.0
HELP_LIMIT = 200_000


class Finished(NamedTuple):
    """What a program printed; `code` is NOT_RUN where it did not start or did not end in time."""

    code: int
    out: str
    err: str


def run(argv: list[str], timeout_s: float | None, text: str = "", **options: Any) -> Finished:
    """Run a program to its end; raise OSError where it is not installed, or does not end in time."""
    try:
        done = subprocess.run(
            argv,
            input=text.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=timeout_s,
            check=False,
            **{"env": ENVIRONMENT, **options},
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError("%s did not end within %g s" % (argv[0], timeout_s or 0)) from None
    return Finished(
        done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    )


def attempt(argv: list[str], timeout_s: float | None, **options: Any) -> Finished:
    """Run a program and return why it did not run, too."""
    try:
        return run(argv, timeout_s, **options)
    except OSError as problem:
        return Finished(NOT_RUN, "", said_of(problem))


def help_of(program: str) -> Finished:
    """Run `program --help` as an account without rights."""
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    home = {"env": {**ENVIRONMENT, "HOME": "/nonexistent"}}  # old releases end without a HOME
    done = attempt([program, "--help"], HELP_TIMEOUT_S, **nobody, **home)
    return done._replace(out=(done.out + done.err)[-HELP_LIMIT:]) if done.code != NOT_RUN else done
