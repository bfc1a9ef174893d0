"""
Judge answers to requests that overlapped: the worst defects of builds need two users, and log nothing.

With two slots and two clients a HIP build cut five of six answers short at full speed
(https://github.com/ggml-org/llama.cpp/issues/27579), and answered each of them right alone. Answers are
judged by what is recalled and by how they end. They need not be the same bits: a batch may round differently.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field

from strixfleet.on_host.questions import Json
from strixfleet.speed.measure.answer_types import Count, Shown
from strixfleet.speed.measure.recall import FILLER, SHOWN_LETTERS, SPARE_TOKENS


MOST_STREAMS = 8
ANSWER_TOKENS = (
    24  # a code of five digits, a token each, and enough behind it to see an answer that is cut short
)
_FACT_AT = 0.2  # where in the prompt the fact stands
# Names and codes of the streams; no code shares three digits in a row with another.
_STREAMS = (
    ("mill", "52907"),
    ("quarry", "81463"),
    ("orchard", "37518"),
    ("tannery", "94082"),
    ("brewery", "16735"),
    ("foundry", "60291"),
    ("vineyard", "28649"),
    ("saltern", "73854"),
)
CODES = tuple(code for _name, code in _STREAMS)


def together_request(micro_batch: int, context_tokens: int) -> dict[str, Json]:
    """Return the request; `context_tokens` is the size of a slot if the server itself does not tell it."""
    streams: list[Json] = [
        {
            "code": code,
            "plant": f"Remember this: the code of the {name} is {code}.",
            "question": f"So ends the day. As was said above, the code of the {name} is",
            "at": _FACT_AT,
        }
        for name, code in _STREAMS
    ]
    return {
        "streams": streams,
        "filler": [*FILLER],
        "long_tokens": micro_batch + micro_batch // 2,
        "room_tokens": context_tokens,
        "spare_tokens": SPARE_TOKENS,
        "answer_tokens": ANSWER_TOKENS,
    }


@dataclass(frozen=True, slots=True)
class StreamAnswer:
    """The answer to one stream: which codes it holds, its length in tokens, and the slot that gave it."""

    content: Annotated[Shown, AfterValidator(lambda text: text[:SHOWN_LETTERS])] = ""
    codes: tuple[str, ...] = ()
    length: Count = 0
    prompt_tokens: Count = 0
    slot: int | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """All streams at once; `again` are the answers to the same, where one had forgotten its fact."""

    cached: bool = False
    rows: tuple[StreamAnswer, ...] = ()
    again: tuple[StreamAnswer, ...] = ()


@dataclass(frozen=True, slots=True)
class Together:
    """The answers of each stream alone, and of all at once; `skipped` says why nothing was asked."""

    alone: Annotated[tuple[StreamAnswer, ...], Field(max_length=MOST_STREAMS)] = ()
    rounds: tuple[Round, ...] = ()
    skipped: Shown = ""

    @property
    def calibrated(self) -> tuple[int, ...]:
        """Return the streams that recall their own fact and no other when they are asked alone."""
        return tuple(at for at, row in enumerate(self.alone) if row.codes == (CODES[at],))

    def wrong_output(self) -> str:
        """Return the evidence that overlapping requests spoil each other; empty if there is none."""
        for one in self.rounds:
            if why := self._wrong(one):
                cache = "in the cache" if one.cached else "not in the cache"
                return f"of {len(self.alone)} requests at once, their prompts {cache}, {why}"
        return ""

    def _wrong(self, one: Round) -> str:
        if len(one.rows) != len(self.alone):
            return ""
        for at, row in enumerate(one.rows):
            if why := self._mixed(at, row) or self._short(at, row):
                return f"stream {at + 1}{_slot(row)} {why}: {row.content!r}"
        forgot = [at for at in self._forgetful(one.rows) if self._forgetful(one.again)]
        if not forgot:
            return ""
        first = forgot[0]
        row = one.rows[first]
        return (
            f"stream {first + 1}{_slot(row)} forgot {CODES[first]}, which it recalls alone, and asked again "
            f"it was no better: {row.content!r}"
        )

    def _mixed(self, at: int, row: StreamAnswer) -> str:
        others = [code for code in row.codes if code != CODES[at] and code not in self.alone[at].codes]
        return f"answered {others[0]}, which belongs to another request, not {CODES[at]}" if others else ""

    def _short(self, at: int, row: StreamAnswer) -> str:
        asked = self.alone[at].length
        return f"ended after {row.length} tokens, alone after {asked}" if row.length < asked else ""

    def _forgetful(self, rows: tuple[StreamAnswer, ...]) -> list[int]:
        return [at for at in self.calibrated if at < len(rows) and CODES[at] not in rows[at].codes]

    def note(self, model: str) -> str:
        """Say why the test proves nothing; empty if it proves something."""
        if self.skipped:
            return f"{model}: requests at once were not tested: {self.skipped}"
        if self.alone and not self.calibrated:
            return (
                f"{model} recalls no fact when asked alone, so of requests at once only their ends are judged"
            )
        return ""


def _slot(row: StreamAnswer) -> str:
    return "" if row.slot is None else f" (slot {row.slot})"
