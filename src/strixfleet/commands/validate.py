"""`strixfleet validate`: load the inventory and report every mistake."""

import json
from collections.abc import Sequence

import click

from strixfleet.errors import ExitCode, Mistake
from strixfleet.fleet.options import Options, fleet_options
from strixfleet.report.output import emit, medium
from strixfleet.report.words import counted


SCHEMA = "strixfleet/validate/1"


@click.command()
@fleet_options
def validate(options: Options) -> ExitCode:
    """
    Check the inventory and report every mistake with file, line, host, field and remedy.

    Contacts no host. The exit code is 0 without mistakes (warnings do not count) and 2 with mistakes.
    """
    from strixfleet.inventory.load import examine

    loaded = examine(options.request())
    wrong = any(not mistake.warning for mistake in loaded.mistakes)
    code = ExitCode.USAGE if wrong else ExitCode.OK
    if medium(options.output, as_json=options.as_json) == "json":
        text = _document(loaded.host_names, loaded.mistakes, code)
    else:
        text = _lines(loaded.host_names, loaded.mistakes)
    emit(f"{text}\n", options.output)
    return code


def _lines(hosts: Sequence[str], mistakes: Sequence[Mistake]) -> str:
    lines = [f"{'warning: ' if mistake.warning else ''}{mistake}" for mistake in mistakes]
    errors = sum(not mistake.warning for mistake in mistakes)
    warnings = len(mistakes) - errors
    summary = [counted(len(hosts), "host")] if hosts else []
    summary.append(counted(errors, "mistake") if errors else "no mistakes")
    if warnings:
        summary.append(counted(warnings, "warning"))
    return "\n".join([*lines, ", ".join(summary)])


def _document(hosts: Sequence[str], mistakes: Sequence[Mistake], code: ExitCode) -> str:
    entries = [_entry(mistake) for mistake in mistakes]
    # No host is contacted: reachable means that nothing is known against it.
    by_host = {
        name: {"reachable": True, "mistakes": sum(name in mistake.hosts for mistake in mistakes)}
        for name in hosts
    }
    document = {"schema": SCHEMA, "exit_code": int(code), "hosts": by_host, "mistakes": entries}
    return json.dumps(document, indent=2)


def _entry(mistake: Mistake) -> dict[str, object]:
    return {
        "code": mistake.code.value,
        "severity": "warning" if mistake.warning else "error",
        "file": mistake.file or None,
        "line": mistake.line or None,
        "host": mistake.host or None,
        "hosts": [*mistake.hosts],
        "field": mistake.field or None,
        "message": mistake.message,
        "hint": mistake.hint or None,
    }
