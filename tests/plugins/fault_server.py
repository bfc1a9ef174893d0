"""An HTTP server on loopback that serves a model and misbehaves as a test asks."""

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Request:
    """What a client asked."""

    path: str
    range: str | None
    if_range: str | None
    authorization: str | None


@dataclass
class Reply:
    """What it gets: `sent` bytes of `body` under the headers; after `pause_s` the connection ends."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    sent: int | None = None
    pause_s: float = 0


Behaviour = Callable[[Request], Reply]


@dataclass
class FaultServer:
    """Address, what was asked, and how many bytes went out."""

    url: str
    requests: list[Request] = field(default_factory=list)
    sent_bytes: int = 0


def serve_ranges(content: bytes, *, etag: str = '"one"', cut_after: int | None = None) -> Behaviour:
    """Serve a file as a good server does, each answer cut after so many bytes."""

    def reply(request: Request) -> Reply:
        headers = {"ETag": etag}
        start = 0
        if request.range and request.if_range in {None, etag}:
            start = int(request.range.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                return Reply(416, {"Content-Range": f"bytes */{len(content)}"})
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return Reply(206 if start else 200, headers, content[start:], cut_after)

    return reply


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *_arguments: object) -> None:
        """Say nothing about clients that hung up."""


@contextmanager
def fault_server(behaviour: Behaviour, *, tls: ssl.SSLContext | None = None) -> Iterator[FaultServer]:
    """Run the server for a while."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            request = Request(
                self.path,
                self.headers.get("Range"),
                self.headers.get("If-Range"),
                self.headers.get("Authorization"),
            )
            state.requests.append(request)
            reply = behaviour(request)
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            body = reply.body if reply.sent is None else reply.body[: reply.sent]
            state.sent_bytes += len(body)
            self.wfile.write(body)
            self.wfile.flush()
            time.sleep(reply.pause_s)
            self.close_connection = True

        def log_message(self, *_arguments: object) -> None:
            """Keep quiet."""

    server = _Quiet(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    state = FaultServer(f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
