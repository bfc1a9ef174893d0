"""Write a report as JSON, for scripts."""

import json

from strixfleet.findings.results import Report


def render(report: Report) -> str:
    """Return the JSON document in ASCII, so that nothing in it can control a terminal."""
    return json.dumps(report.to_json(), indent=2) + "\n"
