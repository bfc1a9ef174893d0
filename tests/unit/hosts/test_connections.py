"""Kept connections: one a host, another one where it broke or had been idle."""

import threading
import time
from collections.abc import Sequence

import pytest

from strixfleet.errors import Unreachable
from strixfleet.hosts import connections
from strixfleet.hosts.connections import Connections
from strixfleet.hosts.remote import CommandResult
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.settings import HostSettings


HOST = Host("h1", Connection("127.0.0.1"), HostSettings())


class Line:
    """A connection that breaks when it is told to."""

    def __init__(self) -> None:
        self.broken = self.closed = False
        self.sent: list[str] = []

    def run(self, argv: Sequence[str], *, timeout_s: float, become: bool = True) -> CommandResult:  # noqa: ARG002
        if self.broken:
            raise Unreachable("the connection broke", where="h1")
        self.sent.append(argv[0])
        return CommandResult(0, "", "")

    def close(self) -> None:
        self.closed = True


class Lines:
    """All connections that were opened."""

    def __init__(self) -> None:
        self.opened: list[Line] = []
        self.connections = Connections(self.connect)

    def connect(self, _host: Host) -> Line:
        self.opened.append(Line())
        return self.opened[-1]

    def run(self, word: str) -> None:
        self.connections.to(HOST).run([word], timeout_s=1)

    @property
    def sent(self) -> list[list[str]]:
        return [line.sent for line in self.opened]


def test_many_commands_from_many_threads_share_one_connection() -> None:
    lines = Lines()
    threads = [threading.Thread(target=lines.run, args=("x",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lines.sent == [["x"] * 8]
    lines.connections.new(HOST)
    assert len(lines.opened) == 2


def test_a_broken_connection_fails_once_and_is_replaced() -> None:
    lines = Lines()
    lines.run("a")
    lines.opened[0].broken = True
    with pytest.raises(Unreachable):
        lines.run("b")
    assert not lines.opened[0].closed, "another thread may still read from it"
    lines.run("c")
    assert lines.sent == [["a"], ["c"]]
    lines.connections.close()
    assert [line.closed for line in lines.opened] == [True, True]


def test_a_connection_that_was_idle_has_to_answer_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The operator thought about the question for an hour; nothing is sent twice, nothing is lost."""
    lines = Lines()
    lines.run("a")
    later = time.time() + connections.IDLE_S + 1
    monkeypatch.setattr(time, "time", lambda: later)
    lines.run("b")
    assert lines.sent == [["a", "true", "b"]]
    much_later = later + connections.IDLE_S + 1
    monkeypatch.setattr(time, "time", lambda: much_later)
    lines.opened[0].broken = True
    lines.run("c")
    assert lines.sent == [["a", "true", "b"], ["c"]]


def test_after_close_the_next_command_opens_a_connection() -> None:
    lines = Lines()
    with lines.connections:
        lines.run("a")
    assert lines.opened[0].closed
    lines.run("b")
    assert lines.sent == [["a"], ["b"]]
