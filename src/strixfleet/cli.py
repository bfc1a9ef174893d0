"""The command line: finds the verb, turns every error into one sentence and an exit code."""

import contextlib
import errno
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

import click

from strixfleet import __version__
from strixfleet.errors import ExitCode, FleetError, UsageError


_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
VERBS = {
    "init": "Write a commented starter inventory.",
    "validate": "Check the inventory; every mistake with file and line.",
    "trust": "Show and enrol host keys.",
    "plan": "Show what provision would change, and what it costs.",
    "provision": "Bring hosts from a bare OS to a verified service.",
    "audit": "Hold the live state against the desired state.",
    "bench": "Run the smoke benchmark and judge it.",
    "predict": "Say from a GGUF header whether it fits and how fast it will be.",
    "upgrade": "Roll llama.cpp to the pinned build: canary, gate, return.",
    "rollback": "Go back to the previous build.",
    "advise": "Name the newest ref that passed here, and how it differs.",
    "bisect": "Find the commit of llama.cpp that broke or slowed a host.",
    "status": "Show what each host runs now.",
    "history": "List recorded runs.",
    "report": "Write one self-contained HTML page.",
    "unlock": "Show and remove a stale fleet lock.",
    "sandbox": "Make disposable hosts on this machine.",
    "demo": "Provision a disposable host from bare OS to verified service.",
}


class Verbs(click.Group):
    """Load a verb's module only when it is asked for, so that `audit` starts fast."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Return the verbs in the order of the work."""
        return list(VERBS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Import one verb."""
        if name not in VERBS:
            return None
        command = getattr(importlib.import_module(f"strixfleet.commands.{name}"), name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(__version__, "-V", "--version", message="strixfleet %(version)s")
def strixfleet() -> None:
    """Provision, upgrade and audit AMD Strix Halo boxes that serve language models."""


def _defect(error: Exception) -> int:
    traceback.print_exception(error, file=sys.stderr)
    print(
        f"\nstrixfleet {__version__}: a defect in strixfleet itself: {type(error).__name__}: {error}\n"
        "hint: report the lines above with the command that you typed",
        file=sys.stderr,
    )
    return ExitCode.DEFECT


class _Stream:
    """stdout or stderr whose reader may go away: what nobody reads stops no work, and is no exit code."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or let it be."""
        with self._heedless():
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or let it be."""
        with self._heedless():
            self._stream.flush()

    @contextlib.contextmanager
    def _heedless(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def _streams() -> None:
    """Let every stream be there, since schedulers may start programs without, and outlive its reader."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - for good
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
        setattr(sys, name, _Stream(stream))


def _document(arguments: Sequence[str], code: int, message: str) -> None:
    """Return scripts one JSON document even where a verb came to nothing."""
    verb = next((word for word in arguments if word in VERBS), None)
    if verb is not None and "--json" in arguments:
        hosts: dict[str, Any] = {} if verb == "predict" else {"hosts": {}}  # it asks none
        row = {"schema": f"strixfleet/{verb}/1", "exit_code": int(code), **hosts, "error": message}
        print(json.dumps(row, indent=2))


def _stopped(error: click.Abort | KeyboardInterrupt) -> tuple[int, str]:
    """Tell an interrupted run from a question that nobody answered: those come before any change."""
    if isinstance(error, click.Abort) and not isinstance(error.__cause__, KeyboardInterrupt):
        return ExitCode.USAGE, "the question was not answered; nothing was changed; hint: --yes asks nothing"
    return ExitCode.FAILED, "interrupted; run the same command again to go on"


def guarded(act: Callable[[], Any], arguments: Sequence[str] = ()) -> int:
    """Run a verb; give its exit code whatever happens."""
    try:
        result = act()
    except FleetError as error:
        prefix = "" if "\n" in str(error) else "strixfleet: "
        print(f"{prefix}{error}", file=sys.stderr)
        code, message = int(error.exit_code), str(error)
    except click.ClickException as error:
        error.show()
        code, message = UsageError.exit_code, error.format_message()
    except (click.Abort, KeyboardInterrupt) as error:
        code, message = _stopped(error)
        print(f"\nstrixfleet: {message}", file=sys.stderr)  # the cursor stands behind the question or a ^C
    except OSError as error:
        if error.errno not in _NO_ROOM:
            code, message = _defect(error), f"a defect in strixfleet itself: {type(error).__name__}: {error}"
        else:
            where = f"{error.filename}: " if error.filename else ""
            code, message = ExitCode.FAILED, f"{where}{error.strerror}"
            print(f"strixfleet: {message}", file=sys.stderr)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a defect of ours is said as one
        code, message = _defect(error), f"a defect in strixfleet itself: {type(error).__name__}: {error}"
    else:
        return int(result) if isinstance(result, int) else ExitCode.OK
    _document(arguments, code, message)
    return code


def main(arguments: list[str] | None = None) -> None:
    """Be the command `strixfleet`."""
    _streams()
    words = sys.argv[1:] if arguments is None else arguments

    def act() -> object:
        result = strixfleet.main(words, "strixfleet", standalone_mode=False)
        sys.stdout.flush()  # while an error can still be said
        return result

    sys.exit(guarded(act, words))
