"""
What a draft model gains: decode speed on natural text with and without it, and the share of accepted tokens.

A llama-server that drafted shows `draft_n` and `draft_n_accepted` in its `timings`. Builds of 2025 switch
speculation off for a request with `speculative.n_max` 0; newer ones ignore that (llama.cpp,
tools/server/server-schema.cpp: "disable speculative parameter adjustments for now"). For those, llama-bench,
which never speculates, gives the speed without the draft model.
"""

from dataclasses import dataclass
from statistics import median

from strixfleet.on_host.questions import Json
from strixfleet.speed.measure.served_run import TimedRuns


# Natural text: a draft model guesses repetitive text too well.
PROMPT = (
    "The village lay in a fold of the hills, an hour's walk from the road. In spring the river came up to "
    "the lowest gardens, and the people carried their hens and their winter wood to the church, where they "
    "waited, told each other what the water had done in other years, and argued about whose fault the old "
    "dam was. On the third morning a young engineer arrived with a borrowed boat and a roll of drawings "
    "under his coat, asked for the mayor, and began to explain what he meant to build:"
)


def draft_request(generate_tokens: int) -> dict[str, Json]:
    """Return the request for a server with a draft model; its prompt may be cached, only decode is timed."""
    body: dict[str, Json] = {"prompt": PROMPT, "n_predict": generate_tokens, "ignore_eos": True}
    return {"body": {**body, "cache_prompt": True}, "without": {"speculative.n_max": 0}}


@dataclass(frozen=True, slots=True)
class Draft:
    """Runs with the draft model (`speculating`), and runs that asked the server not to use it (`plain`)."""

    speculating: TimedRuns = ()
    plain: TimedRuns = ()

    @property
    def can_be_switched_off(self) -> bool:
        """Tell whether the server stopped speculating when a request asked for that."""
        return bool(self.plain) and not any(run.draft_tokens for run in self.plain)

    @property
    def acceptance(self) -> float | None:
        """Return the share of drafted tokens that was accepted; None if the server does not show any."""
        drafted = sum(run.draft_tokens for run in self.speculating)
        accepted = sum(run.accepted_tokens for run in self.speculating)
        return accepted / drafted if drafted else None

    def gain(self, bench_tps: float | None) -> "DraftGain | None":
        """
        Compare decode with the draft model and without; None if nothing ran.

        A server that cannot switch speculation off is compared with llama-bench.
        """
        if not self.speculating:
            return None
        tps_with = median(run.decode_tps for run in self.speculating)
        if self.can_be_switched_off:
            plain_tps = median(run.decode_tps for run in self.plain)
            return DraftGain(tps_with, plain_tps, "request", self.acceptance)
        return DraftGain(tps_with, bench_tps, "llama-bench" if bench_tps else "", self.acceptance)


@dataclass(frozen=True, slots=True)
class DraftGain:
    """Decode with a draft model and without; `by` names what measured the speed without it."""

    tps_with: float
    tps_without: float | None
    by: str
    acceptance: float | None

    @property
    def gain(self) -> float | None:
        """Return the share of speed that the draft model gains; negative if it costs speed."""
        return self.tps_with / self.tps_without - 1 if self.tps_without else None

    def to_json(self) -> dict[str, Json]:
        """Return a row for scripts."""
        figures = {
            "tps_with": self.tps_with,
            "tps_without": self.tps_without,
            "gain": self.gain,
            "acceptance": self.acceptance,
        }
        rounded = {key: None if value is None else round(value, 4) for key, value in figures.items()}
        return {**rounded, "without_by": self.by or None}

    def note(self, model: str) -> str:
        """Return the comparison in words, with advice if there is any."""
        words = f"{model}: draft model: {self.tps_with:.1f} t/s with"
        if self.gain is None or self.tps_without is None:
            words += "; the speed without it could not be measured: this server cannot switch drafting off"
        else:
            by = " (llama-bench)" if self.by == "llama-bench" else ""
            words += f", {self.tps_without:.1f} without{by}: {self.gain * 100:+.0f} %"
        if self.acceptance is None:
            return (
                f"{words}; acceptance could not be measured: the server shows no drafted tokens. Newer "
                "servers use a draft model only with `spec-type: draft-simple` in the instance's arguments"
            )
        words += f", {self.acceptance * 100:.0f} % accepted"
        return f"{words}; it slows decoding down: remove `draft_model`" if (self.gain or 0.0) < 0 else words
