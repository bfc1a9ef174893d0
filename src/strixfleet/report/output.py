"""Where results go: stdout as text or JSON, or a file whose name says the medium."""

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
    Show a report: text for people, one JSON document under `--json`.

    `--output FILE` writes the file and leaves stdout empty: `.json` and `.html` are what they say, else text.
    """
    if output is not None:
        write(output, rendered(report, medium(output, as_json=as_json), everything=everything))
    elif as_json and not to_stderr:
        sys.stdout.write(json_document.render(report))
    else:
        from strixfleet.report import terminal

        terminal.show(report, stream=sys.stderr if to_stderr else sys.stdout, everything=everything)


def medium(output: Path, *, as_json: bool) -> str:
    """Tell the medium from a file's name."""
    if as_json or output.suffix == ".json":
        return "json"
    return "html" if output.suffix in {".html", ".htm"} else "text"


def rendered(report: Report, medium: str, *, everything: bool) -> str:
    """Return a report in one medium."""
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
    """Write a file; say in one sentence why it cannot be written."""
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot be written ({error.strerror})", where=str(output)) from None
