"""The command line: find the verb, and turn every error into one sentence and an exit code."""

import contextlib
import errno
import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

import click

from strixfleet import __version__
from strixfleet.errors import ExitCode, FleetError, UsageError
from strixfleet.printable import without_escapes


_NO_READER = {errno.EPIPE, errno.EIO}  # EIO is what a closed terminal says
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
VERBS = {
    "init": "Write a commented starter inventory.",
    "validate": "Check the inventory; list every mistake with file and line.",
    "trust": "Show and enrol host keys.",
    "plan": "Show what provision would change, and the cost.",
    "provision": "Bring hosts from a bare OS to a verified service.",
    "audit": "Compare the live state with the desired state.",
    "bench": "Run the smoke benchmark and judge it.",
    "predict": "Predict fit and speed of a model from its GGUF header.",
    "upgrade": "Upgrade to the pinned build: canary, gate, automatic return.",
    "rollback": "Return to the previous build.",
    "advise": "Name the newest ref that passed on your hosts.",
    "bisect": "Find the commit of llama.cpp that broke or slowed a host.",
    "status": "Show what each host runs now.",
    "history": "List recorded runs.",
    "report": "Write one self-contained HTML page.",
    "unlock": "Show and remove a stale fleet lock.",
    "sandbox": "Create disposable hosts on this machine.",
    "demo": "Provision a disposable host from bare OS to verified service.",
}


class Verbs(click.Group):
    """Load the module of a verb only when the verb is used, so that `audit` starts fast."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Return the verbs in the order in which they are used."""
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
        "hint: report the lines above and the command that you typed",
        file=sys.stderr,
    )
    return ExitCode.DEFECT


class _Stream:
    """
    stdout or stderr; when its reader or terminal is gone, the work goes on to the same exit code.

    Everything that is shown passes here, so no escape sequence of a host's reaches the terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, unless the reader has gone."""
        with self._reader_may_be_gone():
            return self._stream.write(without_escapes(text))
        return len(text)

    def flush(self) -> None:
        """Flush, unless the reader has gone."""
        with self._reader_may_be_gone():
            self._stream.flush()

    @contextlib.contextmanager
    def _reader_may_be_gone(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _NO_READER:
                raise
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def _streams() -> None:
    """Open streams that a scheduler left closed, and let output outlive its reader."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - for good
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
        setattr(sys, name, _Stream(stream))


def _print_error_document(arguments: Sequence[str], code: int, message: str) -> None:
    """Print one JSON document under --json even if the verb failed."""
    verb = next((word for word in arguments if word in VERBS), None)
    if verb is not None and "--json" in arguments:
        hosts: dict[str, Any] = {} if verb == "predict" else {"hosts": {}}
        row = {"schema": f"strixfleet/{verb}/1", "exit_code": int(code), **hosts, "error": message}
        print(json.dumps(row, indent=2))


def _stopped(error: click.Abort | KeyboardInterrupt) -> tuple[int, str]:
    """Tell an interrupted run from an unanswered question, which comes before any change."""
    if isinstance(error, click.Abort) and not isinstance(error.__cause__, KeyboardInterrupt):
        return (
            ExitCode.USAGE,
            "the question was not answered, so nothing was changed; hint: --yes answers yes to all questions",
        )
    return ExitCode.FAILED, "interrupted; hint: run the same command again to continue"


def guarded(act: Callable[[], Any], arguments: Sequence[str] = ()) -> int:
    """Run a verb and return its exit code, whatever happens."""
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
        print(f"\nstrixfleet: {message}", file=sys.stderr)  # the cursor is behind the question or a ^C
    except OSError as error:
        if error.errno not in _NO_ROOM:
            code, message = _defect(error), f"a defect in strixfleet itself: {type(error).__name__}: {error}"
        else:
            where = f"{error.filename}: " if error.filename else ""
            code, message = ExitCode.FAILED, f"{where}{error.strerror}"
            print(f"strixfleet: {message}", file=sys.stderr)
    except Exception as error:  # noqa: BLE001 - every other error is a defect of ours
        code, message = _defect(error), f"a defect in strixfleet itself: {type(error).__name__}: {error}"
    else:
        return int(result) if isinstance(result, int) else ExitCode.OK
    _print_error_document(arguments, code, message)
    return code


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def end_well_on_signals() -> None:
    """Let SIGTERM and a closed terminal end a run as Ctrl-C does, unless nohup has it otherwise."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)


def main(arguments: list[str] | None = None) -> None:
    """Run the command `strixfleet`."""
    _streams()
    end_well_on_signals()
    words = sys.argv[1:] if arguments is None else arguments

    def act() -> object:
        result = strixfleet.main(words, "strixfleet", standalone_mode=False)
        sys.stdout.flush()  # while an error can still be reported
        return result

    sys.exit(guarded(act, words))
