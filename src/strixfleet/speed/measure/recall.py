"""
Facts planted in prompts: a build that loses them beyond a micro-batch computes nonsense at full speed.

A HIP build answered garbage, as fast as ever, once a prompt was longer than a micro-batch (field notes). Each
fact is asked for twice, in text of half a micro-batch and in text of one and a half, planted where the first
micro-batch reads it. The short form calibrates: a model that cannot recall there proves nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from strixfleet.on_host.questions import Json
from strixfleet.printable import printable


ANSWER_TOKENS = 16  # room for five digits, a token each, and what a model says before them
LEAST_EXCESS = 1.1  # a prompt that is hardly longer than a micro-batch shows little
SPARE_TOKENS = 64  # question, planted sentence and answer
# Name, code and where it stands in the text: in the first micro-batch, short or long. Filler has no digits.
_FACTS = (("harbour", "48213", 0.1), ("lighthouse", "70596", 0.3), ("granary", "31874", 0.5))
_FILLER = (
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


def planted_wish(micro_batch: int, context_tokens: int) -> dict[str, Json]:
    """Say what to ask of a server; `context_tokens` counts where the server does not tell a slot's size."""
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
        "filler": [*_FILLER],
        "short_tokens": micro_batch // 2,
        "long_tokens": micro_batch + micro_batch // 2,
        "least_tokens": int(micro_batch * LEAST_EXCESS),
        "room_tokens": context_tokens,
        "spare_tokens": SPARE_TOKENS,
        "answer_tokens": ANSWER_TOKENS,
    }


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to one question, and how long the prompt was in tokens."""

    content: str
    recalled: bool
    tokens: int


@dataclass(frozen=True, slots=True)
class Planted:
    """
    All answers; `skipped` says why there are none to long prompts.

    Asking ends where the answer is settled: at the first short prompt that is not recalled, at the first long
    one that is.
    """

    facts: int = 0
    short: tuple[Answer, ...] = ()
    long: tuple[Answer, ...] = ()
    skipped: str = ""

    @property
    def calibrated(self) -> bool:
        """Tell whether the model recalls every fact from a short prompt."""
        return 0 < self.facts == sum(one.recalled for one in self.short)

    def wrong_output(self) -> str:
        """Return the evidence that facts are lost beyond a micro-batch; empty where they are not."""
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
        """Say why the test proves nothing; empty where it does."""
        if self.skipped:
            return f"{model}: no long prompt was asked: {self.skipped}"
        if self.short and not self.calibrated:
            said = self.short[-1].content
            return (
                f"{model} does not recall a fact from a prompt of {_most(self.short)} tokens (it answers "
                f"{said!r}), so a long prompt would prove nothing"
            )
        return ""


def _most(rows: tuple[Answer, ...]) -> int:
    return max(row.tokens for row in rows)


def planted_from(answer: Json) -> Planted:
    """Read the script's answer; one that is missing or malformed is as good as none."""
    if not isinstance(answer, dict):
        return Planted()
    facts = answer.get("facts")
    return Planted(
        facts if isinstance(facts, int) else 0,
        _answers(answer.get("short")),
        _answers(answer.get("long")),
        printable(str(answer.get("skipped") or "")),
    )


def _answers(rows: Json) -> tuple[Answer, ...]:
    found = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return tuple(_answer(row) for row in found)


def _answer(row: Mapping[str, Json]) -> Answer:
    tokens = row.get("tokens")
    content = printable(str(row.get("content") or ""))[:60]
    return Answer(content, row.get("recalled") is True, tokens if isinstance(tokens, int) else 0)
