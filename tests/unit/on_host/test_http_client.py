"""The one client of llama-server: no proxies, no redirects, and it does not wait or read for ever."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from strixfleet.on_host import http_client
from strixfleet.on_host.http_client import NO_ANSWER, NotServed, Reply, Server, first_key


class Pages(BaseHTTPRequestHandler):
    """Answers by path; `seen` are the requests."""

    seen: tuple[tuple[str, str], ...] = ()

    def log_message(self, *_given: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        Pages.seen += ((self.path, self.headers.get("Authorization", "")),)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/secret")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        if self.path == "/endless":
            block = b"x" * 65536
            while True:
                try:
                    self.wfile.write(block)
                except OSError:
                    return
        if self.path == "/slow":
            for _ in range(100):
                try:
                    self.wfile.write(b"x")
                except OSError:
                    return
                time.sleep(0.05)
        self.wfile.write(b"not JSON")

    def do_POST(self) -> None:
        """Send events for ever: slowly, or as fast as they go."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b'data: {"content": "w", "stop": false}\n\n')
                if self.path == "/slow":
                    time.sleep(0.05)
        except OSError:
            return


@pytest.fixture
def url() -> Iterator[str]:
    Pages.seen = ()
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.shutdown()
        thread.join()


def test_a_redirect_is_an_answer_and_is_not_followed(url: str) -> None:
    assert Server(url).ask("/moved").status == 302
    assert [path for path, _key in Pages.seen] == ["/moved"]


def test_no_proxy_hears_of_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert Server(url).health() == 200


def test_an_answer_without_end_is_cut(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "LIMIT_BYTES", 1 << 20)
    reply = Server(url).ask("/endless")
    assert (reply.status, reply.text) == (NO_ANSWER, "the answer is larger than 1 MiB")


def test_an_answer_that_trickles_is_not_waited_for(url: str) -> None:
    begun = time.monotonic()
    reply = Server(url, timeout_s=0.3).ask("/slow")
    assert (reply.status, reply.text) == (NO_ANSWER, "timed out")
    assert time.monotonic() - begun < 2


def trickle_headers(listener: socket.socket) -> None:
    line, _address = listener.accept()
    with line, contextlib.suppress(OSError):
        line.sendall(b"HTTP/1.1 200 OK\r\n")
        for _ in range(200):
            line.sendall(b"X")
            time.sleep(0.05)


def test_headers_that_trickle_are_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=trickle_headers, args=(listener,), daemon=True).start()
        begun = time.monotonic()
        reply = Server(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.3).ask("/")
    assert (reply.status, reply.text) == (NO_ANSWER, "timed out")
    assert time.monotonic() - begun < 2


def test_a_stream_that_never_ends_has_a_deadline(url: str) -> None:
    begun = time.monotonic()
    with pytest.raises(NotServed, match="timed out"):
        list(Server(url, timeout_s=600).events("/slow", {}, 0.3))
    assert time.monotonic() - begun < 2


def test_a_stream_without_end_is_cut(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "LIMIT_BYTES", 1 << 20)
    with pytest.raises(NotServed, match="larger than 1 MiB"):
        list(Server(url).events("/fast", {}, 60))


@pytest.mark.parametrize("address", ["192.0.2.7", "100.64.255.254", "[2001:db8::1]"])
def test_nothing_is_sent_to_another_machine(address: str) -> None:
    """A server whose command line claims such an address gets neither prompt nor key."""
    reply = Server(f"http://{address}:80", timeout_s=5).ask("/props")
    assert (reply.status, reply.text) == (NO_ANSWER, f"{address.strip('[]')} is not an address of this host")


def test_json_that_is_nested_too_deep_is_not_json() -> None:
    assert Reply(200, "[" * 200_000).json() is None


@pytest.mark.parametrize("address", ["https://127.0.0.1", "file:///etc/passwd", "127.0.0.1:80", "http:///x"])
def test_only_http_addresses_are_asked(address: str) -> None:
    with pytest.raises(ValueError, match="is not an http:// address"):
        Server(address)


def test_the_first_key_of_a_file_is_sent(url: str, tmp_path: Path) -> None:
    key_file = tmp_path / "keys"
    key_file.write_text("# ours\n\n first \nsecond\n")
    Server(url, str(key_file)).ask("/")
    Server(url, str(tmp_path / "absent")).ask("/")
    assert [key for _path, key in Pages.seen] == ["Bearer first", ""]
    assert first_key(str(tmp_path / "absent")) == ""


def test_what_is_not_json_is_not_served(url: str) -> None:
    with pytest.raises(NotServed, match="/props is not JSON: not JSON"):
        Server(url).fetch("/props")
    with pytest.raises(NotServed, match=r"the server did not answer: .*refused"):
        Server("http://127.0.0.1:9").fetch("/props")
    with pytest.raises(NotServed, match="the server answered 302"):
        Server(url).fetch("/moved")
