"""The script that asks for planted facts, against servers that recall, forget, or do not hold so much."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from strixfleet.hosts.reach import remote_for
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.on_host.questions import Json
from strixfleet.speed.measure import remote_bench as adapter
from strixfleet.speed.measure.recall import recall_request
from strixfleet.speed.measure.remote_bench import Bench
from strixfleet.speed.measure.served import Served


class Recalling(BaseHTTPRequestHandler):
    """A llama-server whose tokens are words; beyond `memory` of them it answers nonsense."""

    memory = 100_000
    slot: int | None = 4096
    counts = True
    refuses = 100_000
    breaks = 100_000
    trained: int | None = None
    prompts: tuple[str, ...] = ()

    def log_message(self, *_given: object) -> None:
        """Say nothing."""

    def _send(self, body: object, status: int = 200) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._send({"data": [{"id": "m", "meta": {"n_ctx_train": self.trained}}]})
            return
        slot = {"n_ctx": self.slot} if self.slot else {}
        self._send({"build_info": "b1-c", "model_path": "/m.gguf", "default_generation_settings": slot})

    def do_POST(self) -> None:
        wish = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            self._send(
                {"tokens": wish["content"].split()} if self.counts else {}, 200 if self.counts else 404
            )
            return
        words, code = wish["prompt"].split(), re.search(r"\d{5}", wish["prompt"])
        if len(words) > self.refuses:
            self._send({"error": {"message": "exceeds the available context size"}}, 400)
            return
        if len(words) > self.breaks:
            self._send({"error": {"message": "the KV cache is full"}}, 500)
            return
        if code:
            Recalling.prompts += (wish["prompt"],)
        right = f" {code[0][:2]},{code[0][2:]}." if code and len(words) <= self.memory else "@@@@"
        self._send({"content": right, "tokens": [1], "tokens_evaluated": len(words)})


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, value in (
        ("memory", 100_000),
        ("slot", 4096),
        ("counts", True),
        ("refuses", 100_000),
        ("breaks", 100_000),
        ("trained", None),
        ("prompts", ()),
    ):
        monkeypatch.setattr(Recalling, name, value)
    with ThreadingHTTPServer(("127.0.0.1", 0), Recalling) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.shutdown()
        thread.join()


def ask(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **wish: Json) -> Served:
    monkeypatch.setattr(adapter, "user_cache_path", lambda _name: tmp_path / "cache")
    host = Host("here", Connection("127.0.0.1", local=True), HostSettings())
    request: dict[str, Json] = {
        "url": url,
        "pid": 0,
        "body": {"prompt": "x", "n_predict": 4},
        "repetitions": 0,
        "repeat_tokens": 1,
        "planted": {**recall_request(512, 4096), **wish},
    }
    return Bench(host, remote_for(host, "")).served(request, 20)


Asked = tuple[str, pytest.MonkeyPatch, Path]


@pytest.fixture
def asked(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    return url, monkeypatch, tmp_path


def test_a_server_that_recalls_is_asked_three_short_prompts_and_one_long_one(asked: Asked) -> None:
    served = ask(*asked)
    assert (served.wrong_output(), served.recall.note("m"), served.error) == ("", "", None)
    short, long = served.recall.short, served.recall.long
    assert [one.tokens < 280 for one in short] == [True, True, True]
    assert [one.tokens > 740 for one in long] == [True]
    assert len(Recalling.prompts) == 4


def test_nonsense_beyond_a_micro_batch_is_wrong_output(asked: Asked) -> None:
    Recalling.memory = 512
    evidence = ask(*asked).wrong_output()
    assert "none from those of" in evidence
    assert "@@@@" in evidence


def test_a_model_that_forgets_short_prompts_is_asked_once_and_no_long_one(asked: Asked) -> None:
    Recalling.memory = 10
    served = ask(*asked)
    assert served.wrong_output() == ""
    assert "does not recall" in served.recall.note("m")
    assert len(Recalling.prompts) == 1


def test_the_prompts_are_the_same_for_every_run(asked: Asked) -> None:
    ask(*asked)
    ask(*asked)
    assert Recalling.prompts[:4] == Recalling.prompts[4:]


def test_a_server_that_does_not_count_gets_four_letters_a_token(asked: Asked) -> None:
    Recalling.counts = False
    ask(*asked)
    longest = max(len(prompt) for prompt in Recalling.prompts)
    assert 768 * 4 * 0.95 < longest < 768 * 4 + 300


@pytest.mark.parametrize(("slot", "room"), [(600, 4096), (None, 600)])
def test_a_slot_without_room_is_left_out(asked: Asked, slot: int | None, room: int) -> None:
    Recalling.slot = slot
    served = ask(*asked, room_tokens=room)
    assert "a slot holds 600 tokens" in served.recall.note("m")
    assert Recalling.prompts == ()


def test_a_slot_with_a_little_room_gets_a_shorter_prompt(asked: Asked) -> None:
    Recalling.slot = 700
    (long,) = ask(*asked).recall.long
    assert 563 < long.tokens < 700


def test_a_prompt_that_is_refused_proves_nothing(asked: Asked) -> None:
    Recalling.refuses = 600
    served = ask(*asked)
    assert (served.error, served.wrong_output()) == (None, "")
    assert "answered 400" in served.recall.note("m")


def test_no_prompt_is_longer_than_what_the_model_was_trained_for(asked: Asked) -> None:
    Recalling.trained = 600
    served = ask(*asked)
    assert "a slot holds 600 tokens" in served.recall.note("m")
    assert Recalling.prompts == ()


def test_a_failing_extra_question_spoils_no_measurement(asked: Asked) -> None:
    Recalling.breaks = 600
    served = ask(*asked)
    assert (served.error, served.wrong_output()) == (None, "")
    assert served.outputs
    assert "answered 500" in served.recall.note("m")
