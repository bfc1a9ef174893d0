"""Documents of a host, from a file or a program there: whatever they hold, reading never fails."""

from strixfleet.on_host import json_text
from strixfleet.on_host.questions import Json


def json_map(text: Json) -> dict[str, Json]:
    """Return the map that a text holds; empty where there is no text, or where it is not a map."""
    try:
        return json_text.parsed_map(text) if isinstance(text, str) else {}
    except ValueError:
        return {}
