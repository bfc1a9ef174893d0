"""Draining waits for what runs, not for ever, and not for a server that does not answer."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from strixfleet.on_host import process
from strixfleet.on_host.http_client import Server
from strixfleet.on_host.switch.drain import Drain
from strixfleet.on_host.switch.units import Units


class Metrics(http.server.BaseHTTPRequestHandler):
    """Answers /metrics with a number of running requests that falls with each question."""

    left = 0
    asked = 0
    key = ""

    def do_GET(self) -> None:
        cls = type(self)
        cls.asked += 1
        cls.left = max(0, cls.left - 1)
        cls.key = self.headers.get("Authorization", "")
        body = f"# HELP x\nllamacpp:requests_processing {cls.left}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metrics) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made.server_address[1]
        made.shutdown()


@pytest.fixture
def drain(tmp_path: Path, server: int, monkeypatch: pytest.MonkeyPatch) -> Drain:
    key_file = tmp_path / "etc/strixfleet/keys/chat"
    key_file.parent.mkdir(parents=True)
    key_file.write_text("secret\n")
    made = Drain(str(tmp_path), Units(str(tmp_path), "true"))
    monkeypatch.setattr(made.units, "enabled", lambda: ["llama-server@chat.service"])
    monkeypatch.setattr(made.units, "main_pid", lambda _unit: 42)
    words = ["llama-server", "--host", "127.0.0.1,::1", "--port", str(server)]
    monkeypatch.setattr(process, "arguments", lambda _pid: words)
    monkeypatch.setattr(made, "_refuse_new", lambda _ports: None)
    return made


def test_running_generations_end_first(drain: Drain) -> None:
    Metrics.left, Metrics.asked = 4, 0
    drain.wait(30)
    assert Metrics.asked == 4
    assert Metrics.key == "Bearer secret"


def test_there_is_a_limit(drain: Drain) -> None:
    Metrics.left = 1_000_000
    drain.wait(0.5)
    assert Metrics.left > 0


def test_what_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    assert not Server("http://127.0.0.1:1").running_requests()
    drain = Drain(str(tmp_path), Units(str(tmp_path), "true"))
    drain.wait(30)


@pytest.mark.parametrize("words", [[], ["--port", "x"], ["--host", "/run/llama.sock", "--port", "8080"]])
def test_a_server_that_does_not_tell_where_it_listens_is_not_waited_for(
    drain: Drain, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setattr(process, "arguments", lambda _pid: words)
    Metrics.left, Metrics.asked = 4, 0
    drain.wait(30)
    assert Metrics.asked == 0
