"""What requests to the running server showed: speed as a caller sees it, and whether answers are right."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from strixfleet.on_host.questions import Json
from strixfleet.speed.measure.answer_types import Count, Figure, OrDefault, Said, Shown, Text
from strixfleet.speed.measure.draft import Draft
from strixfleet.speed.measure.recall import Recall
from strixfleet.speed.measure.served_run import TimedRuns
from strixfleet.speed.measure.together import Together


@dataclass(frozen=True, slots=True)
class Output:
    """One answer of a server; old servers do not list the tokens."""

    tokens: tuple[int, ...] | None = None
    content: str | None = None

    @property
    def pieces(self) -> tuple[int | str, ...]:
        """Return the tokens, or the letters if the server does not list tokens."""
        return self.tokens or tuple(self.content or "")


@dataclass(frozen=True, slots=True)
class Served:
    """The answers to all requests to one instance; `error` says why there are none."""

    runs: TimedRuns = ()
    outputs: tuple[Output, ...] = ()
    busy_slots: Count = 0
    others_share: Figure = 0.0
    build_info: Shown = ""
    model_path: Text = ""
    error: Said | None = None
    recall: Annotated[Recall, OrDefault, Field(validation_alias="planted")] = field(default_factory=Recall)
    together: Annotated[Together, OrDefault] = field(default_factory=Together)
    draft: Annotated[Draft, OrDefault] = field(default_factory=Draft)

    @property
    def decode_tps(self) -> tuple[float, ...]:
        """Return the decode rate of each request."""
        return tuple(run.decode_tps for run in self.runs)

    @property
    def drafted(self) -> bool:
        """Tell whether the server speculated."""
        return any(run.draft_tokens for run in self.runs)

    @property
    def beginnings(self) -> tuple[str, ...]:
        """Return how each answer begins: its first token, or its first letter if tokens are not known."""
        return tuple(str(next(iter(output.pieces), "")) for output in self.outputs[1:])

    def wrong_output(self) -> str:
        """Return the evidence that the server computes wrong answers; empty if there is none."""
        if len(self.outputs) < 2:  # noqa: PLR2004 - the first prompt is sent twice
            return ""
        if not all(output.pieces for output in self.outputs):
            return "the server returned no tokens"
        if self.outputs[0] != self.outputs[1]:
            return (
                "two requests that were alike, at temperature 0 and with a fixed seed, had different answers"
            )
        return self.recall.wrong_output() or self.together.wrong_output()


# Sent at temperature 0; the first token of these answers hardly depends on how a build rounds.
PROMPTS = ("The capital of France is", "1, 2, 3, 4, 5, 6,", "def add(a, b):\n    return")


def served_body(prompt_tokens: int, generate_tokens: int) -> dict[str, Json]:
    """Return a request whose answer has a fixed length, whatever the model says."""
    words: Sequence[str] = ("the", "of", "and", "to", "in", "a", "is", "it")
    prompt = " ".join(words[index % len(words)] for index in range(prompt_tokens))
    return {"prompt": prompt, "n_predict": generate_tokens, "ignore_eos": True}
