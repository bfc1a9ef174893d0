"""JSON that a host keeps in a file or that a program there prints: whatever it holds, reading never fails."""

import json

from strixfleet.on_host.questions import Json


def json_map(text: Json) -> dict[str, Json]:
    """Return the map that a text holds; empty where there is no text, or where it is not a map."""
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
