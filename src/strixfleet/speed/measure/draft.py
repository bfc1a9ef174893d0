"""
What a draft model gains: decode with speculation and without, on natural text, and how much is accepted.

`timings` of llama-server show `draft_n` and `draft_n_accepted` where it drafted. Builds of 2025 switch
speculation off for a request with `speculative.n_max` 0; newer ones ignore that (server-schema.cpp: "disable
speculative parameter adjustments for now"). Then llama-bench, which never speculates, gives the other figure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from strixfleet.on_host.questions import Json
from strixfleet.speed.judge.slow_causes import Reason
from strixfleet.speed.measure.served_run import ServedRun, runs_from


# Repetitive text would be drafted too well.
PROMPT = (
    "The village lay in a fold of the hills, an hour's walk from the road. In spring the river came up to "
    "the lowest gardens, and the people carried their hens and their winter wood to the church, where they "
    "waited, told each other what the water had done in other years, and argued about whose fault the old "
    "dam was. On the third morning a young engineer arrived with a borrowed boat and a roll of drawings "
    "under his coat, asked for the mayor, and began to explain what he meant to build:"
)


def draft_wish(generate_tokens: int) -> dict[str, Json]:
    """Say what to ask of a server with a draft model; the prompt may be cached, only decode is timed."""
    body: dict[str, Json] = {"prompt": PROMPT, "n_predict": generate_tokens, "ignore_eos": True}
    return {"body": {**body, "cache_prompt": True}, "without": {"speculative.n_max": 0}}


@dataclass(frozen=True, slots=True)
class Draft:
    """Runs with the draft model, and those that asked for none."""

    speculating: tuple[ServedRun, ...] = ()
    plain: tuple[ServedRun, ...] = ()

    @property
    def heeded(self) -> bool:
        """Tell whether the server did without where that was asked."""
        return bool(self.plain) and not any(run.draft_tokens for run in self.plain)

    @property
    def acceptance(self) -> float | None:
        """Return the share of drafted tokens that was accepted; None where none are shown."""
        drafted = sum(run.draft_tokens for run in self.speculating)
        accepted = sum(run.accepted_tokens for run in self.speculating)
        return accepted / drafted if drafted else None

    def gain(self, bench_tps: float | None) -> "DraftGain | None":
        """Compare, with llama-bench's decode where the server cannot do without; None where nothing ran."""
        if not self.speculating:
            return None
        tps_with = median(run.decode_tps for run in self.speculating)
        if self.heeded:
            plain_tps = median(run.decode_tps for run in self.plain)
            return DraftGain(tps_with, plain_tps, "request", self.acceptance)
        return DraftGain(tps_with, bench_tps, "llama-bench" if bench_tps else "", self.acceptance)


@dataclass(frozen=True, slots=True)
class DraftGain:
    """Decode with a draft model and without; `by` says what gave the speed without."""

    tps_with: float
    tps_without: float | None
    by: str
    acceptance: float | None

    @property
    def gain(self) -> float | None:
        """Return the share of speed that is gained; below 0, lost."""
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
        """Return the comparison in words, with advice where there is some."""
        words = f"{model}: draft model: {self.tps_with:.1f} t/s with"
        if self.gain is None or self.tps_without is None:
            words += "; without it could not be measured: the server drafts whatever a request says"
        else:
            by = " (llama-bench)" if self.by == "llama-bench" else ""
            words += f", {self.tps_without:.1f} without{by}: {self.gain * 100:+.0f} %"
        if self.acceptance is None:
            return (
                f"{words}; acceptance could not be measured, the server shows no drafted tokens: newer ones "
                "use a draft model only with `spec-type: draft-simple` in the instance's arguments"
            )
        words += f", {self.acceptance * 100:.0f} % accepted"
        return f"{words}; it slows decoding down: remove `draft_model`" if (self.gain or 0.0) < 0 else words

    def reasons(self, instance: str) -> tuple[Reason, ...]:
        """Return a reason where drafting costs speed."""
        if self.gain is None or self.gain >= 0 or self.acceptance is None:
            return ()
        evidence = f"{self.tps_with:.2f} t/s with it, {self.tps_without:.2f} without"
        cure = f"remove `draft_model` from the instance {instance}"
        return (Reason("the draft model slows decoding down", evidence, cure, -self.gain),)


def draft_from(answer: Json) -> Draft:
    """Read the script's answer; one that is missing or malformed is as good as none."""
    found: Mapping[str, Json] = answer if isinstance(answer, dict) else {}
    return Draft(runs_from(found.get("speculating")), runs_from(found.get("plain")))
