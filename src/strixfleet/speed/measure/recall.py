"""
Ask a server to recall facts from its prompt: a broken build forgets them beyond one micro-batch.

Some HIP builds answer nonsense at full speed once a prompt is longer than one micro-batch:
https://github.com/ggml-org/llama.cpp/issues/25992. Each fact is asked for twice: in a text of half a
micro-batch and in one of one and a half, always near the start, where the first micro-batch reads it. The
short form calibrates: if a model cannot recall the fact there, the long form proves nothing.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from strixfleet.on_host.questions import Json
from strixfleet.speed.measure.answer_types import Count, Shown


SHOWN_LETTERS = 60
ANSWER_TOKENS = 16  # room for five digits, a token each, and what a model says before them
LEAST_EXCESS = 1.1  # a prompt that is only a little longer than a micro-batch shows nothing
SPARE_TOKENS = 64  # for the question, the sentence with the fact, and the answer
# Name, code and relative position: in the first micro-batch of both texts. The filler has no digits.
_FACTS = (("harbour", "48213", 0.1), ("lighthouse", "70596", 0.3), ("granary", "31874", 0.5))
FILLER = (
    "The morning was calm, and the boats left early with the tide.",
    "A cart of timber came down from the hills and stood by the mill.",
    "The baker opened late because the oven would not draw.",
    "Two children carried a basket of apples across the square.",
    "The clerk wrote letters until the light failed, then went home.",
    "Rain fell for an hour and the street smelled of wet stone.",
    "A stranger asked the way to the old bridge and was shown it.",
    "The smith mended a hinge, sharpened a scythe and drank his tea.",
    "In the inn they spoke of the fair and of the price of wool.",
    "A dog slept in the doorway and would not move for anyone.",
    "The teacher rang the bell, and the yard fell silent at once.",
    "Towards evening the wind turned and brought the boats back.",
    "Somebody had left a lamp burning in the chapel all night.",
    "The gardener counted his roses and found none of them missing.",
    "Snow still lay on the far side of the valley that week.",
    "The ferry was late, so the travellers played cards and waited.",
)


def recall_request(micro_batch: int, context_tokens: int) -> dict[str, Json]:
    """Return the request; `context_tokens` is the size of a slot if the server itself does not tell it."""
    facts: list[Json] = [
        {
            "code": code,
            "plant": f"Remember this: the code of the {name} is {code}.",
            "question": f"So ends the day. As was said above, the code of the {name} is",
            "at": at,
        }
        for name, code, at in _FACTS
    ]
    return {
        "facts": facts,
        "filler": [*FILLER],
        "short_tokens": micro_batch // 2,
        "long_tokens": micro_batch + micro_batch // 2,
        "least_tokens": int(micro_batch * LEAST_EXCESS),
        "room_tokens": context_tokens,
        "spare_tokens": SPARE_TOKENS,
        "answer_tokens": ANSWER_TOKENS,
    }


@dataclass(frozen=True, slots=True)
class RecallAnswer:
    """The answer to one question, and the length of its prompt in tokens."""

    content: Annotated[Shown, AfterValidator(lambda text: text[:SHOWN_LETTERS])] = ""
    recalled: bool = False
    tokens: Count = 0


@dataclass(frozen=True, slots=True)
class Recall:
    """
    The answers to short and to long prompts; `skipped` says why no long prompt was sent.

    Asking ends as soon as the result is certain: at the first fact that is not recalled from a short prompt,
    or the first that is recalled from a long one.
    """

    facts: Count = 0
    short: tuple[RecallAnswer, ...] = ()
    long: tuple[RecallAnswer, ...] = ()
    skipped: Shown = ""

    @property
    def calibrated(self) -> bool:
        """Tell whether the model recalls every fact from a short prompt."""
        return 0 < self.facts == sum(one.recalled for one in self.short)

    def wrong_output(self) -> str:
        """Return the evidence that facts are lost beyond a micro-batch; empty if they are not."""
        asked = len(self.long) == self.facts
        if not self.calibrated or not asked or any(one.recalled for one in self.long):
            return ""
        last = self.long[-1].content
        short, long = _most(self.short), _most(self.long)
        return (
            f"all {self.facts} facts are recalled from prompts of {short} tokens, none from those of {long}, "
            f"beyond a micro-batch: the last answer was {last!r}"
        )

    def note(self, model: str) -> str:
        """Say why the test proves nothing; empty if it proves something."""
        if self.skipped:
            return f"{model}: recall from a long prompt was not tested: {self.skipped}"
        if self.short and not self.calibrated:
            said = self.short[-1].content
            return (
                f"{model} does not recall a fact from a prompt of {_most(self.short)} tokens (it answers "
                f"{said!r}), so a long prompt would prove nothing"
            )
        return ""


def _most(rows: tuple[RecallAnswer, ...]) -> int:
    return max(row.tokens for row in rows)
