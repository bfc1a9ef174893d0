"""The one client of llama-server: no proxies, no redirects, and it does not wait or read for ever."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from strixfleet.on_host import http_client
from strixfleet.on_host.http_client import NO_ANSWER, NotServed, Server, first_key


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
