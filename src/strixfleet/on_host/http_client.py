"""
Talk to a llama-server on this host, and to nothing else.

Plain http, no proxies, no redirects, only addresses of this host, and a limit for the size and the time of
each answer: what answers may be hostile.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
from contextlib import closing, contextmanager, suppress
from typing import Any, Iterator, NamedTuple
from urllib.parse import urlsplit

from . import json_text
from .files import read_text


OK = 200
NO_ANSWER = 0
TIMEOUT_S = 5.0
LIMIT_BYTES = 8 << 20
_BLOCK_BYTES = 1 << 16


class Reply(NamedTuple):
    """One answer; with status NO_ANSWER the text is why there is none."""

    status: int
    text: str

    def json(self) -> Any:
        """Return the parsed body; None where it is not JSON."""
        try:
            return json_text.parsed(self.text)
        except ValueError:
            return None


class NotServed(Exception):
    """A server did not answer, or answered an error."""

    def __init__(self, reply: Reply) -> None:
        self.status = reply.status
        said = "did not answer" if reply.status == NO_ANSWER else "answered %d" % reply.status
        super().__init__("the server %s: %s" % (said, reply.text[:300]))


class _Connection(http.client.HTTPConnection):
    """
    A connection to this host itself, which can carry a firewall mark from its first packet on.

    It is bound to the address that it goes to. The kernel refuses that for an address of another machine, so
    neither prompts nor keys leave the host, wherever an address came from.
    """

    firewall_mark = 0
    line: socket.socket | None = None

    def connect(self) -> None:
        """Try each address of the host in turn."""
        problem = OSError("%s has no address" % self.host)
        for family, kind, protocol, _name, address in socket.getaddrinfo(
            self.host, self.port, type=socket.SOCK_STREAM
        ):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(self.timeout)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a request is two small writes
                if self.firewall_mark:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self.firewall_mark)
                _bind_to_this_host(sock, str(address[0]))
                sock.connect(address)
            except OSError as failure:
                sock.close()
                problem = failure
            else:
                self.sock = self.line = sock
                return
        raise problem

    def cut(self) -> None:
        """End the connection, wherever it waits."""
        if self.line is not None:
            with suppress(OSError):
                self.line.shutdown(socket.SHUT_RDWR)


def _bind_to_this_host(sock: socket.socket, address: str) -> None:
    try:
        sock.bind((address, 0))
    except OSError:
        raise OSError("%s is not an address of this host" % address) from None


class _TimeLimit:
    """Cuts a connection when its time is over: a server that trickles renews every other limit."""

    def __init__(self, connection: _Connection, limit_s: float) -> None:
        self.is_over = False
        self._connection = connection
        self._timer = threading.Timer(limit_s, self._end)
        self._timer.daemon = True
        self._timer.start()

    def _end(self) -> None:
        self.is_over = True
        self._connection.cut()

    def stop(self) -> None:
        """Let the connection be."""
        self._timer.cancel()

    def check(self) -> None:
        """Raise TimeoutError where the time is over: what arrived by then is not the whole answer."""
        if self.is_over:
            raise TimeoutError("timed out")


class Server:
    """One server; `key_file` holds its API keys, `firewall_mark` is for nft rules to know our packets by."""

    def __init__(
        self, url: str, key_file: str = "", timeout_s: float = TIMEOUT_S, firewall_mark: int = 0
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError("%s is not an http:// address" % url)
        self._host, self._port = parts.hostname, parts.port or 80
        self._timeout_s = timeout_s
        self._firewall_mark = firewall_mark
        self._headers = {"Content-Type": "application/json", "Connection": "close"}
        key = first_key(key_file) if key_file else ""
        if key:
            self._headers["Authorization"] = "Bearer " + key

    @contextmanager
    def _asked(self, path: str, body: Any, timeout_s: float) -> Iterator[http.client.HTTPResponse]:
        connection = _Connection(self._host, self._port, timeout=timeout_s)
        connection.firewall_mark = self._firewall_mark
        data = None if body is None else json.dumps(body).encode()
        with closing(connection):
            limit = _TimeLimit(connection, timeout_s)
            try:
                connection.request("GET" if data is None else "POST", path, body=data, headers=self._headers)
                yield connection.getresponse()
            except (OSError, http.client.HTTPException):
                limit.check()
                raise
            finally:
                limit.stop()
            limit.check()

    def ask(self, path: str, body: Any = None, timeout_s: float | None = None) -> Reply:
        """Get a path, or post a body to it; an answer that is too slow or too large is no answer."""
        try:
            with self._asked(path, body, timeout_s or self._timeout_s) as response:
                return Reply(response.status, _read(response).decode("utf-8", "replace"))
        except (OSError, http.client.HTTPException) as problem:
            return Reply(NO_ANSWER, str(problem) or type(problem).__name__)

    def fetch(self, path: str, body: Any = None, timeout_s: float | None = None) -> Any:
        """Return a JSON answer; raise NotServed where there is none."""
        reply = self.ask(path, body, timeout_s)
        if reply.status != OK:
            raise NotServed(reply)
        answer = reply.json()
        if answer is None:
            raise NotServed(Reply(NO_ANSWER, "%s is not JSON: %s" % (path, reply.text[:100])))
        return answer

    def events(self, path: str, body: Any, limit_s: float) -> Iterator[Any]:
        """Post a body and yield the server-sent events as they come; the limit is for all together."""
        try:
            with self._asked(path, body, limit_s) as response:
                if response.status != OK:
                    raise NotServed(Reply(response.status, _read(response).decode("utf-8", "replace")))
                size_bytes = 0
                for line in iter(lambda: response.readline(LIMIT_BYTES), b""):
                    size_bytes += len(line)
                    _refuse_large(size_bytes)
                    if line.startswith(b"data: {"):
                        yield json_text.parsed(line[6:])
        except (OSError, http.client.HTTPException, ValueError) as problem:
            raise NotServed(Reply(NO_ANSWER, str(problem) or type(problem).__name__)) from problem

    def health(self) -> int:
        """Return the status of /health: 503 while the model loads, NO_ANSWER where nothing listens."""
        return self.ask("/health").status

    def running_requests(self) -> int:
        """Count the requests that are being served; 0 where the server does not show its metrics."""
        reply = self.ask("/metrics")
        found = re.search(r"^llamacpp:requests_processing\s+([0-9.]+)", reply.text, re.MULTILINE)
        return int(float(found[1])) if reply.status == OK and found else 0


def first_key(path: str) -> str:
    """Return the first API key of a key file; nothing where there is none."""
    rows = [row.strip() for row in (read_text(path) or "").splitlines()]
    return next((row for row in rows if row and not row.startswith("#")), "")


def _read(response: http.client.HTTPResponse) -> bytes:
    blocks: list[bytes] = []
    size_bytes = 0
    while True:
        block = response.read1(_BLOCK_BYTES)
        if not block:
            return b"".join(blocks)
        blocks.append(block)
        size_bytes += len(block)
        _refuse_large(size_bytes)


def _refuse_large(size_bytes: int) -> None:
    if size_bytes > LIMIT_BYTES:
        raise OSError("the answer is larger than %d MiB" % (LIMIT_BYTES >> 20))
