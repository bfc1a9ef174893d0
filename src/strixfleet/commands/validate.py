"""`strixfleet validate`: load the inventory and say every mistake."""

import json
from collections.abc import Sequence

import click

from strixfleet.errors import ExitCode, Mistake
from strixfleet.fleet.options import Options, fleet_options
from strixfleet.report.output import write


SCHEMA = "strixfleet/validate/1"


@click.command()
@fleet_options
def validate(options: Options) -> ExitCode:
    """
    Check the inventory; every mistake with file, line, host and field, and what to write instead.

    Contacts no host. Exit code 0 without mistakes (warnings are none), 2 with mistakes.
    """
    from strixfleet.inventory.load import examine

    loaded = examine(options.request())
    wrong = any(not mistake.warning for mistake in loaded.mistakes)
    code = ExitCode.USAGE if wrong else ExitCode.OK
    if options.as_json or (options.output and options.output.suffix == ".json"):
        text = _document(loaded.host_names, loaded.mistakes, code)
    else:
        text = _lines(loaded.host_names, loaded.mistakes)
    if options.output:
        write(options.output, f"{text}\n")
    else:
        click.echo(text)
    return code


def _lines(hosts: Sequence[str], mistakes: Sequence[Mistake]) -> str:
    lines = [f"{'warning: ' if mistake.warning else ''}{mistake}" for mistake in mistakes]
    errors = sum(not mistake.warning for mistake in mistakes)
    warnings = len(mistakes) - errors
    summary = [_count(len(hosts), "host")] if hosts else []
    summary.append(_count(errors, "mistake") if errors else "no mistakes")
    if warnings:
        summary.append(_count(warnings, "warning"))
    return "\n".join([*lines, ", ".join(summary)])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _document(hosts: Sequence[str], mistakes: Sequence[Mistake], code: ExitCode) -> str:
    entries = [_entry(mistake) for mistake in mistakes]
    # No host is asked; nothing is known against any.
    by_host = {
        name: {"reachable": True, "mistakes": sum(name in mistake.hosts for mistake in mistakes)}
        for name in hosts
    }
    document = {"schema": SCHEMA, "exit_code": int(code), "hosts": by_host, "mistakes": entries}
    return json.dumps(document, indent=2)


def _entry(mistake: Mistake) -> dict[str, object]:
    return {
        "severity": "warning" if mistake.warning else "error",
        "file": mistake.file or None,
        "line": mistake.line or None,
        "host": mistake.host or None,
        "hosts": [*mistake.hosts],
        "field": mistake.field or None,
        "message": mistake.message,
        "hint": mistake.hint or None,
    }
