"""One timed request to a running server: how fast tokens came, as a caller sees it."""

from collections.abc import Mapping
from dataclasses import dataclass

from strixfleet.on_host.questions import Json


@dataclass(frozen=True, slots=True)
class ServedRun:
    """One streamed completion; times since the request was sent."""

    first_token_s: float
    last_token_s: float
    tokens: int
    prompt_tokens: int
    draft_tokens: int = 0
    accepted_tokens: int = 0

    @property
    def decode_tps(self) -> float:
        """Return the rate after the first token: it is prefill that the first one waits for."""
        span_s = self.last_token_s - self.first_token_s
        return (self.tokens - 1) / span_s if span_s > 0 else 0.0


def runs_from(rows: Json) -> tuple[ServedRun, ...]:
    """Read the script's rows; requests that brought less than two tokens are left out."""
    found = [_run(row) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return tuple(run for run in found if run is not None)


def _run(row: Mapping[str, Json]) -> ServedRun | None:
    first, last, tokens = row.get("first_token_s"), row.get("last_token_s"), row.get("tokens")
    if not isinstance(first, int | float) or not isinstance(last, int | float) or not isinstance(tokens, int):
        return None
    counts = (row.get(key) for key in ("prompt_tokens", "draft_tokens", "accepted_tokens"))
    run = ServedRun(
        float(first), float(last), tokens, *(one if isinstance(one, int) else 0 for one in counts)
    )
    return run if tokens > 1 and run.last_token_s > run.first_token_s else None
