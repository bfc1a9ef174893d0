"""Recall of facts: what is asked, and when an answer proves nonsense beyond a micro-batch."""

import pytest

from strixfleet.on_host.questions import Json
from strixfleet.speed.measure.answer_types import UnreadableAnswerError, read_as
from strixfleet.speed.measure.recall import Recall, recall_request
from strixfleet.speed.measure.served import Served


def rows(*recalled: bool, tokens: int = 256) -> list[Json]:
    return [{"content": " 48213", "recalled": one, "tokens": tokens} for one in recalled]


def answer(short: list[Json], long: list[Json] | None = None, **more: Json) -> Recall:
    return read_as(Recall, {"facts": 3, "short": short, "long": long or [], **more})


ALL, NONE = rows(True, True, True), rows(False, False, False, tokens=768)


def test_facts_that_only_short_prompts_keep_are_wrong_output() -> None:
    evidence = answer(ALL, NONE).wrong_output()
    assert "all 3 facts are recalled from prompts of 256 tokens, none from those of 768" in evidence
    assert "' 48213'" in evidence or "'48213'" in evidence


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (ALL, rows(True)),  # asking ends at the first that is recalled
        (ALL, rows(False, False, True)),
        (ALL, rows(False)),  # a request that failed proves nothing
        (ALL, None),
        (rows(True, True, False), NONE),
        (rows(False), None),
        ([], None),
    ],
)
def test_everything_else_proves_nothing(short: list[Json], long: list[Json] | None) -> None:
    assert answer(short, long).wrong_output() == ""


def test_a_model_that_cannot_recall_is_a_note_and_no_failure() -> None:
    note = answer(rows(True, False)).note("m")
    assert note.startswith("m does not recall a fact from a prompt of 256 tokens")
    assert answer(ALL, rows(True)).note("m") == ""


def test_a_prompt_that_was_left_out_is_a_note() -> None:
    assert (
        answer([], skipped="a slot holds 512 tokens")
        .note("m")
        .endswith("not tested: a slot holds 512 tokens")
    )


def test_nothing_asked_is_no_evidence() -> None:
    found = read_as(Served, {"planted": None}).recall
    assert (found.wrong_output(), found.note("m")) == ("", "")


def test_an_answer_of_another_form_names_the_field() -> None:
    with pytest.raises(UnreadableAnswerError, match=r"planted\.short\.0"):
        read_as(Served, {"planted": {"facts": 3, "short": [1]}})


def test_the_evidence_reaches_the_servers_verdict() -> None:
    same: Json = {"tokens": [1], "content": "a"}
    facts: Json = {"facts": 3, "short": ALL, "long": NONE}
    served = read_as(Served, {"outputs": [same, same], "planted": facts})
    assert "beyond a micro-batch" in served.wrong_output()


def test_lengths_follow_the_micro_batch_and_codes_stand_out() -> None:
    request = recall_request(512, 8192)
    assert (request["short_tokens"], request["long_tokens"], request["least_tokens"]) == (256, 768, 563)
    assert request == recall_request(512, 8192)
    filler, facts = request["filler"], request["facts"]
    assert isinstance(filler, list)
    assert not any(letter.isdigit() for line in filler for letter in str(line))
    assert isinstance(facts, list)
    for fact in facts:
        assert isinstance(fact, dict)
        assert str(fact["code"]) in str(fact["plant"])
        assert str(fact["code"]) not in str(fact["question"])
        # in the first micro-batch, so that the question must reach beyond it
        assert float(str(fact["at"])) * 768 < 512
