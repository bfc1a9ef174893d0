"""Run a program of a build, which may be hostile: confined like a server, without network, and to its end."""

from __future__ import annotations

import os
import pwd
import secrets
import sys
from typing import Any, NamedTuple, Sequence

from . import command, confinement
from .command import NOT_RUN, Finished
from .confinement import RUN_ENVIRONMENT, Allowed


BOOTED = "/run/systemd/system"  # is there where systemd runs, see sd_booted(3)
PYTHON = "/usr/bin/python3"
GRACE_S = 15.0
NOTHING_MORE = Allowed()
HELP_TIMEOUT_S = 60.0
HELP_LIMIT = 200_000
CPU_MARK = "strixfleet-cpu-s:"
# Runs a program and says what CPU time it took: the unit is gone when anybody could ask systemd.
TIMED = (
    """
import os, sys
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
status, usage = os.wait4(child, 0)[1:]
sys.stderr.write("\\n%s%%f\\n" %% (usage.ru_utime + usage.ru_stime))
code = os.waitstatus_to_exitcode(status)
sys.exit(code if code >= 0 else 128 - code)
"""
    % CPU_MARK
)


class Ran(NamedTuple):
    """What a program printed, and the CPU time that it took."""

    finished: Finished
    cpu_s: float


def run(words: Sequence[str], timeout_s: float, allowed: Allowed = NOTHING_MORE) -> Ran:
    """Run a program; a time or an output beyond its limit ends it, and all that it started."""
    if not os.access(words[0], os.X_OK):
        return Ran(Finished(NOT_RUN, "", "%s: No such file or directory" % words[0]), 0.0)
    timed = [_python(), "-I", "-c", TIMED, *words]
    confines = os.geteuid() == 0 and os.path.isdir(BOOTED)
    done = _in_unit(timed, timeout_s, allowed) if confines else _without_rights(timed, timeout_s, allowed)
    return _timed(done if done.code != NOT_RUN else done._replace(err=_naming(words[0], done.err)))


def _python() -> str:
    """Return a Python that the unit sees: one in somebody's home is hidden there."""
    return PYTHON if os.access(PYTHON, os.X_OK) else sys.executable


def _in_unit(words: Sequence[str], timeout_s: float, allowed: Allowed) -> Finished:
    unit = "strixfleet-run-%s.service" % secrets.token_hex(8)
    argv = confinement.run_argv(unit, words, timeout_s + GRACE_S, allowed)
    done = command.attempt(argv, timeout_s, start_new_session=True)
    if done.code == NOT_RUN:
        command.attempt(["systemctl", "stop", unit], GRACE_S)
    return done


def _without_rights(words: Sequence[str], timeout_s: float, allowed: Allowed) -> Finished:
    """Run it where there is no systemd, hence no server, no key and no other instance to protect."""
    options: dict[str, Any] = {"env": {**RUN_ENVIRONMENT, **dict(allowed.environment)}}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        options.update(user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[])
    return command.attempt(list(words), timeout_s, cwd="/", start_new_session=True, **options)


def _naming(program: str, problem: str) -> str:
    """Let a message begin with the program instead of what started it."""
    return "%s %s" % (program, problem.partition(" ")[2])


def _timed(done: Finished) -> Ran:
    said, mark, cpu_s = done.err.rpartition("\n" + CPU_MARK)
    if not mark:
        return Ran(done, 0.0)
    return Ran(done._replace(err=said), _seconds(cpu_s))


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def help_of(program: str) -> Finished:
    """Run `program --help`."""
    done = run([program, "--help"], HELP_TIMEOUT_S, Allowed(write_and_execute=True)).finished
    return done._replace(out=(done.out + done.err)[-HELP_LIMIT:]) if done.code != NOT_RUN else done
