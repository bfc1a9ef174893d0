"""Requests that overlap, against servers that answer each right alone and spoil what overlaps, or do not."""

import re
import threading
from typing import Any

import pytest

from strixfleet.on_host.ask_together import streams_and_tokens, together
from strixfleet.on_host.http_client import Server
from strixfleet.speed.measure.answer_types import read_as
from strixfleet.speed.measure.together import Together, together_request


STREAMS = 4


class Overlapping(Server):
    """A llama-server of four slots whose tokens are words; requests of a round wait for each other there."""

    def __init__(self, does: str = "nothing") -> None:
        super().__init__("http://127.0.0.1:1")
        self.does = does
        self.asked: list[str] = []
        self.forgotten = 0
        self.running: list[str] = []
        self.gate = threading.Barrier(STREAMS)

    def fetch(self, path: str, body: Any = None, timeout_s: float | None = None) -> Any:  # noqa: ANN401 - JSON
        assert timeout_s is None or timeout_s > 0
        if path == "/tokenize":
            return {"tokens": body["content"].split()}
        if path != "/completion":
            return {}
        own, count = re.findall(r"\b\d{5}\b", body["prompt"])[0], body["n_predict"]
        self.asked.append(body["prompt"])
        if threading.current_thread() is threading.main_thread():
            return self._said("" if self.does == "forgets" else own, count, 0)
        self.running.append(own)
        slot = self.gate.wait(10)
        answer = self._spoilt(own, count, slot, list(self.running[-STREAMS:]))
        self.gate.wait(10)
        return answer

    def _spoilt(self, own: str, count: int, slot: int, all_of_them: list[str]) -> dict[str, Any]:
        if self.does == "mixes" and slot == 2:
            return self._said(next(one for one in all_of_them if one != own), count, slot)
        if self.does == "shortens" and slot == 3:
            return self._said(own, 3, slot)
        if self.does == "second slot" and slot == 1:
            return self._said("", count, slot)
        if self.does == "once" and slot == 1 and not self.forgotten:
            self.forgotten += 1
            return self._said("", count, slot)
        return self._said("" if self.does == "forgets" else own, count, slot)

    def _said(self, code: str, length: int, slot: int) -> dict[str, Any]:
        content = f" {code[:2]},{code[2:]}." if code else "@@@@"
        return {"content": content, "tokens_predicted": length, "tokens_evaluated": 700, "id_slot": slot}


def ask(server: Overlapping, slot: int = 8192) -> Together:
    properties = {"total_slots": STREAMS, "default_generation_settings": {"n_ctx": slot}}
    return read_as(Together, together(server, {"together": together_request(512, slot)}, properties))


def test_a_sound_server_is_asked_alone_then_twice_at_once() -> None:
    server = Overlapping()
    found = ask(server)

    assert (found.wrong_output(), found.note("m"), found.calibrated) == ("", "", (0, 1, 2, 3))
    assert len(server.asked) == 3 * STREAMS
    assert len(set(server.asked)) == STREAMS
    assert len({text[:200] for text in server.asked}) == STREAMS, "a prefix is shared"
    assert all(700 < len(text.split()) < 800 for text in server.asked)


@pytest.mark.parametrize(
    ("does", "evidence"),
    [
        ("mixes", r"stream \d \(slot 2\) answered \d{5}, which belongs to another request, not \d{5}"),
        ("shortens", r"stream \d \(slot 3\) ended after 3 tokens, alone after 24"),
        ("second slot", r"stream \d \(slot 1\) forgot \d{5}, which it recalls alone"),
    ],
)
def test_what_only_overlapping_requests_show_is_wrong_output(does: str, evidence: str) -> None:
    found = ask(Overlapping(does)).wrong_output()

    assert found.startswith("of 4 requests at once, their prompts not in the cache, ")
    assert re.search(evidence, found), found


def test_one_fact_that_is_forgotten_once_is_asked_again() -> None:
    """A batch may round differently, so a single miss proves nothing."""
    server = Overlapping("once")

    assert ask(server).wrong_output() == ""
    assert len(server.asked) == 4 * STREAMS


def test_a_model_that_recalls_nothing_alone_proves_nothing_and_says_so() -> None:
    found = ask(Overlapping("forgets"))

    assert found.wrong_output() == ""
    assert found.note("m").startswith("m recalls no fact when asked alone")


def test_a_context_without_room_is_a_note() -> None:
    note = ask(Overlapping(), slot=200).note("m")
    assert note.endswith("a slot holds 200 tokens, too few for two requests")


@pytest.mark.parametrize(
    ("slots", "slot_tokens", "streams", "tokens"),
    [
        (1, 8192, 2, 768),  # two users of one slot wait for each other, and must not be mixed up
        (4, 8192, 4, 768),
        (16, 65536, 8, 768),
        (8, 2048, 2, 768),  # newer servers share one context among the slots
        (4, 1024, 2, 448),
        (4, 160, 2, 16),
    ],
)
def test_streams_fit_into_the_context(slots: int, slot_tokens: int, streams: int, tokens: int) -> None:
    assert streams_and_tokens(together_request(512, 4096), slots, slot_tokens) == (streams, tokens)
