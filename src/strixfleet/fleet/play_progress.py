"""A play as it runs: a line per change on stderr, and one at least every half minute."""

from typing import Any

from strixfleet.fleet.heartbeat import EVERY_S, Heartbeat
from strixfleet.fleet.progress import say, step


PROGRESS = "strixfleet-progress: "
NAMES_SHOWN = 4


class PlayProgress:
    """Turn the events of a play into lines."""

    def __init__(self, *, verbose: int = 0, every_s: float = EVERY_S) -> None:
        self.verbose = verbose
        self._heartbeat = Heartbeat(every_s)

    def __call__(self, event: dict[str, Any]) -> None:
        """Show one event."""
        show = getattr(self, f"on_{event['event']}", None)
        if show is not None:
            show(event)

    def on_play(self, event: dict[str, Any]) -> None:
        """Begin a play."""
        step(event["name"])

    def on_task(self, event: dict[str, Any]) -> None:
        """Begin a task."""
        self._heartbeat.begin(event["name"].rpartition(" : ")[2])
        if self.verbose:
            step(f"  {event['name']}")

    def on_stats(self, event: dict[str, Any]) -> None:
        """End the play."""
        del event
        self._heartbeat.end()

    def on_ok(self, event: dict[str, Any]) -> None:
        """Name what changed."""
        if event["changed"]:
            step(f"  {event['host']}: {event['task']}{_named(event.get('names', []))}")

    def on_failed(self, event: dict[str, Any]) -> None:
        """Say what failed, with what it printed."""
        step(f"  {event['host']}: FAILED: {event['task']}: {event['message']}")
        if event["detail"]:
            say(event["detail"])

    def on_unreachable(self, event: dict[str, Any]) -> None:
        """Say who was lost."""
        step(f"  {event['host']}: UNREACHABLE: {event['message']}")

    def on_diff(self, event: dict[str, Any]) -> None:
        """Show a difference."""
        say(event["text"].rstrip("\n"))

    def on_line(self, event: dict[str, Any]) -> None:
        """Pass on what is no event."""
        text: str = event["text"]
        if text.startswith(PROGRESS):
            step(f"  {text.removeprefix(PROGRESS)}")
        elif self.verbose or "ERROR" in text:
            say(text)


def _named(names: list[str]) -> str:
    """Name what a task changed, the first few."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f": {', '.join(names[:NAMES_SHOWN])}{more}" if names else ""
