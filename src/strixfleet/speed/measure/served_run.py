"""One timed request to a running server: how fast tokens came, as a caller sees it."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from strixfleet.speed.measure.answer_types import MOST_TPS, Count, Figure


@dataclass(frozen=True, slots=True)
class ServedRun:
    """One streamed completion; times count from when the request was sent, 0 if no token came."""

    first_token_s: Figure = 0.0
    last_token_s: Figure = 0.0
    tokens: Count = 0
    prompt_tokens: Count = 0
    draft_tokens: Count = 0
    accepted_tokens: Count = 0

    @property
    def has_rate(self) -> bool:
        """Tell whether the request brought two tokens or more, at different times."""
        return self.tokens > 1 and self.last_token_s > self.first_token_s

    @property
    def decode_tps(self) -> float:
        """Return the rate after the first token, because the first one waits for the prefill."""
        span_s = self.last_token_s - self.first_token_s
        return (self.tokens - 1) / span_s if span_s > 0 else 0.0


def _with_rate(runs: tuple[ServedRun, ...]) -> tuple[ServedRun, ...]:
    if any(run.decode_tps > MOST_TPS for run in runs):
        raise ValueError(f"no server generates more than {MOST_TPS:.0f} tokens per second")
    return tuple(run for run in runs if run.has_rate)


# Runs as a host reports them, less those without a rate.
TimedRuns = Annotated[tuple[ServedRun, ...], AfterValidator(_with_rate)]
