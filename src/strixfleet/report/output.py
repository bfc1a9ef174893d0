"""Write results to stdout as text or JSON, or to a file whose name gives the format."""

import sys
from io import StringIO
from pathlib import Path

from strixfleet.errors import UsageError
from strixfleet.findings.results import Report
from strixfleet.report import json_document


def show(
    report: Report,
    *,
    as_json: bool = False,
    output: Path | None = None,
    everything: bool = False,
    to_stderr: bool = False,
) -> None:
    """
    Show a report as text, or as one JSON document under `--json`.

    `--output FILE` writes only the file, in the format of its name: `.json`, `.html`, or else text.
    """
    if output is not None:
        write(output, rendered(report, medium(output, as_json=as_json), everything=everything))
    elif as_json and not to_stderr:
        sys.stdout.write(json_document.render(report))
    else:
        from strixfleet.report import terminal

        terminal.show(report, stream=sys.stderr if to_stderr else sys.stdout, everything=everything)


def medium(output: Path | None, *, as_json: bool) -> str:
    """Return the format that a file's name gives."""
    suffix = output.suffix if output else ""
    if as_json or suffix == ".json":
        return "json"
    return "html" if suffix in {".html", ".htm"} else "text"


def emit(text: str, output: Path | None) -> None:
    """Write a result to its file, or to stdout where none is named."""
    if output:
        write(output, text)
    else:
        sys.stdout.write(text)


def rendered(report: Report, medium: str, *, everything: bool) -> str:
    """Return a report in one format."""
    if medium == "json":
        return json_document.render(report)
    if medium == "html":
        from strixfleet.report import html_page

        return html_page.render(html_page.page_of([report.to_json()]))
    from strixfleet.report import terminal

    text = StringIO()
    terminal.show(report, stream=text, everything=everything)
    return text.getvalue()


def write(output: Path, text: str) -> None:
    """Write a file; raise UsageError if it cannot be written."""
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot be written ({error.strerror})", where=str(output)) from None
