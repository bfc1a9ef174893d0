"""Run a program on a host: without a shell, with a plain environment, and within a time limit."""

from __future__ import annotations

import os
import pwd
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
    """Run a program to its end, in any time where the limit is None; raise OSError where that fails."""
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
    options: dict[str, Any] = {"env": {**ENVIRONMENT, "HOME": "/nonexistent"}}  # old releases end without one
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        options.update(user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[])
    done = attempt([program, "--help"], HELP_TIMEOUT_S, **options)
    return done._replace(out=(done.out + done.err)[-HELP_LIMIT:]) if done.code != NOT_RUN else done
