"""Answers to requests that overlapped: what is wrong output, and what proves nothing."""

import itertools

import pytest

from strixfleet.on_host.questions import Json
from strixfleet.speed.measure.answer_types import read_as
from strixfleet.speed.measure.served import Served
from strixfleet.speed.measure.together import CODES, MOST_STREAMS, Together, together_request


def row(*codes: str, length: int = 24) -> Json:
    return {"content": " ".join(codes), "codes": [*codes], "length": length, "slot": 1}


def answer(alone: list[Json], rows: list[Json], again: list[Json] | None = None) -> Together:
    one: Json = {"cached": True, "rows": rows, "again": again or []}
    return read_as(Together, {"alone": alone, "rounds": [one]})


RIGHT = [row(CODES[0]), row(CODES[1])]


def test_another_cache_state_is_named() -> None:
    assert "their prompts in the cache" in answer(RIGHT, [row(CODES[1]), row(CODES[1])]).wrong_output()


@pytest.mark.parametrize(
    ("alone", "rows", "again"),
    [
        (RIGHT, RIGHT, None),
        (RIGHT, [row(), row(CODES[1])], RIGHT),  # forgotten once
        ([row(), row(CODES[1])], [row(), row(CODES[1])], None),  # never recalled
        ([row(CODES[1]), row(CODES[1])], [row(CODES[1]), row(CODES[1])], None),  # confused alone, too
        ([row(CODES[0], length=3), RIGHT[1]], [row(CODES[0], length=3), RIGHT[1]], None),  # always short
        (RIGHT, [], None),
    ],
)
def test_all_else_proves_nothing(alone: list[Json], rows: list[Json], again: list[Json] | None) -> None:
    assert answer(alone, rows, again).wrong_output() == ""


def test_it_is_wrong_output_of_the_server() -> None:
    rounds: Json = [{"rows": [row(CODES[0]), row(CODES[0])]}]
    alike: Json = {"tokens": [1], "content": "x"}
    together: Json = {"alone": [*RIGHT], "rounds": rounds}
    served = read_as(Served, {"outputs": [alike, alike], "together": together})

    assert "belongs to another request" in served.wrong_output()
    assert read_as(Served, {"outputs": [alike, alike], "together": None}).wrong_output() == ""


def test_codes_are_not_alike() -> None:
    assert len(CODES) == MOST_STREAMS
    for one, other in itertools.combinations(CODES, 2):
        assert not any(one[at : at + 3] in other for at in range(3))


def test_no_digits_stand_in_the_filler() -> None:
    request = together_request(512, 4096)
    assert not any(letter.isdigit() for letter in str(request["filler"]))
