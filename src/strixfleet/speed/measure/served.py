"""What requests to the running server showed: speed as a caller sees it, and the same answer twice or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from strixfleet.on_host.questions import Json
from strixfleet.speed.measure.draft import Draft, draft_from
from strixfleet.speed.measure.recall import Planted, planted_from
from strixfleet.speed.measure.served_run import ServedRun, runs_from


@dataclass(frozen=True, slots=True)
class Served:
    """All requests to one instance; `error` says why there are none."""

    runs: tuple[ServedRun, ...] = ()
    outputs: tuple[Json, ...] = ()
    busy_slots: int = 0
    others_share: float = 0.0
    build_info: str = ""
    model_path: str = ""
    error: str | None = None
    planted: Planted = field(default_factory=Planted)
    draft: Draft = field(default_factory=Draft)

    @property
    def decode_tps(self) -> tuple[float, ...]:
        """Return the decode rate of each request."""
        return tuple(run.decode_tps for run in self.runs)

    @property
    def drafted(self) -> bool:
        """Tell whether the server is seen to have speculated."""
        return any(run.draft_tokens for run in self.runs)

    @property
    def beginnings(self) -> tuple[str, ...]:
        """Return how each answer begins: its first token, or its first letter where tokens are not known."""
        return tuple(_beginning(output) for output in self.outputs[1:])

    def wrong_output(self) -> str:
        """Return the evidence that the server does not compute what it should; empty where it does."""
        if len(self.outputs) < 2:  # noqa: PLR2004 - the first prompt is sent twice
            return ""
        if not all(_says_something(output) for output in self.outputs):
            return "the server returned no tokens"
        if self.outputs[0] != self.outputs[1]:
            return "the same request at temperature 0 with a fixed seed was answered in two ways"
        return self.planted.wrong_output()


def _says_something(output: Json) -> bool:
    return isinstance(output, dict) and bool(output.get("tokens") or output.get("content"))


def _beginning(output: Json) -> str:
    tokens = output.get("tokens") if isinstance(output, dict) else None
    content = output.get("content") if isinstance(output, dict) else None
    return str(tokens[0]) if isinstance(tokens, list) and tokens else str(content or "")[:1]


def served_from(answer: Mapping[str, Json]) -> Served:
    """Read the script's answer; requests that brought less than two tokens are left out."""
    error = answer.get("error")
    if isinstance(error, str):
        return Served(error=error)
    outputs = answer.get("outputs")
    busy, others = answer.get("busy_slots"), answer.get("others_share")
    return Served(
        runs=runs_from(answer.get("runs")),
        outputs=tuple(outputs) if isinstance(outputs, list) else (),
        busy_slots=busy if isinstance(busy, int) else 0,
        others_share=float(others) if isinstance(others, int | float) else 0.0,
        build_info=str(answer.get("build_info") or ""),
        model_path=str(answer.get("model_path") or ""),
        planted=planted_from(answer.get("planted")),
        draft=draft_from(answer.get("draft")),
    )


# Sent at temperature 0; what a model says first to these hardly depends on how a build rounds.
PROMPTS = ("The capital of France is", "1, 2, 3, 4, 5, 6,", "def add(a, b):\n    return")


def served_body(prompt_tokens: int, generate_tokens: int) -> dict[str, Json]:
    """Return a request whose length does not depend on what the model would like to say."""
    words: Sequence[str] = ("the", "of", "and", "to", "in", "a", "is", "it")
    prompt = " ".join(words[index % len(words)] for index in range(prompt_tokens))
    return {"prompt": prompt, "n_predict": generate_tokens, "ignore_eos": True}
