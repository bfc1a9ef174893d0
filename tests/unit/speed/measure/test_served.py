"""Requests to the running server: timing, and the same answer twice."""

import pytest

from strixfleet.on_host.questions import Json
from strixfleet.speed.measure.answer_types import UnreadableAnswerError, read_as
from strixfleet.speed.measure.served import Served, served_body
from strixfleet.speed.measure.served_run import ServedRun


RUN: dict[str, Json] = {"first_token_s": 0.5, "last_token_s": 2.5, "tokens": 101, "prompt_tokens": 64}


def answer(*outputs: Json, runs: list[Json] | None = None) -> dict[str, Json]:
    return {"runs": [RUN] if runs is None else runs, "outputs": [*outputs], "busy_slots": 0, "error": None}


def test_decode_rate_starts_after_the_first_token() -> None:
    assert ServedRun(0.5, 2.5, 101, 64).decode_tps == pytest.approx(50.0)


def test_a_rate_that_no_server_reaches_is_not_read() -> None:
    with pytest.raises(UnreadableAnswerError, match="no server generates more than 1000000 tokens"):
        read_as(Served, answer(runs=[{**RUN, "last_token_s": 0.5 + 1e-9}]))


def test_two_like_answers_are_right() -> None:
    same: Json = {"tokens": [1, 2, 3], "content": "abc"}
    served = read_as(Served, answer(same, same))
    assert served.wrong_output() == ""
    assert served.decode_tps == (50.0,)


def test_two_different_answers_are_wrong() -> None:
    served = read_as(Served, answer({"tokens": [1, 2]}, {"tokens": [1, 3]}))
    assert "different answers" in served.wrong_output()


def test_beginnings_are_first_tokens_or_letters() -> None:
    served = read_as(Served, answer({"tokens": [7]}, {"tokens": [7, 8]}, {"content": "xy"}, {}))
    assert served.beginnings == ("7", "x", "")


def test_no_tokens_are_wrong_however_fast() -> None:
    served = read_as(Served, answer({"tokens": [], "content": ""}, {"tokens": [], "content": ""}))
    assert "no tokens" in served.wrong_output()


@pytest.mark.parametrize(
    "run",
    [
        {},
        {**RUN, "tokens": 1},
        {**RUN, "first_token_s": None, "last_token_s": None},
        {**RUN, "last_token_s": 0.5},
    ],
)
def test_requests_without_a_rate_are_left_out(run: Json) -> None:
    assert read_as(Served, answer(runs=[run])).decode_tps == ()


def test_an_answer_of_another_form_is_an_error_that_names_the_field() -> None:
    with pytest.raises(UnreadableAnswerError, match=r"^runs\.0\.tokens: Input should be a valid integer"):
        read_as(Served, answer(runs=[{**RUN, "tokens": "many"}]))


def test_an_error_is_kept() -> None:
    assert read_as(Served, {"error": "the server did not answer"}).error == "the server did not answer"


def test_a_long_path_of_the_model_is_kept() -> None:
    path = f"/var/lib/strixfleet/models/{'long-name-' * 12}.gguf"
    assert read_as(Served, {"model_path": path}).model_path == path


def test_length_does_not_depend_on_the_model() -> None:
    body = served_body(64, 128)
    assert body["ignore_eos"] is True
    assert body["n_predict"] == 128
