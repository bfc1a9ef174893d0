"""The one JSON document that a script reads."""

import json

from strixfleet.findings.results import Report


def render(report: Report) -> str:
    """Return the contract's document, ASCII only: nothing in it can steer a terminal."""
    return json.dumps(report.to_json(), indent=2) + "\n"
