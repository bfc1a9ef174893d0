"""
One connection to each host, kept for all that a command does there.

A connection is opened at the first use. One that broke is replaced at the next use. One that was idle has to
answer first, before a command is sent: a question to the operator may have taken an hour.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Self

from strixfleet.errors import Unreachable
from strixfleet.hosts.reach import remote_for
from strixfleet.hosts.remote import CommandResult, Remote
from strixfleet.inventory.schema.fleet_model import Host


Connect = Callable[[Host], Remote]
IDLE_S = 30.0
PROBE_TIMEOUT_S = 10.0


class KeptRemote:
    """A host over one connection, which several threads may use at once."""

    def __init__(self, connect: Callable[[], Remote]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._remote: Remote | None = None
        self._set_aside: list[Remote] = []
        self._heard_at_s: float | None = None

    def run(self, argv: Sequence[str], *, timeout_s: float, become: bool = True) -> CommandResult:
        """Run one program; raise HostError when the host cannot be reached."""
        remote = self._answering()
        try:
            result = remote.run(argv, timeout_s=timeout_s, become=become)
        except Unreachable:
            self._replace(remote)
            raise
        self._heard_at_s = time.time()
        return result

    def _answering(self) -> Remote:
        """Return the connection; one that was idle has to answer first."""
        remote = self._current()
        # The wall clock, because the monotonic one stands still while a laptop sleeps.
        if self._heard_at_s is None or time.time() - self._heard_at_s < IDLE_S:
            return remote
        try:
            remote.run(["true"], timeout_s=PROBE_TIMEOUT_S, become=False)
        except Unreachable:
            self._replace(remote)
        return self._current()

    def _current(self) -> Remote:
        with self._lock:
            if self._remote is None:
                self._remote = self._connect()
                self._heard_at_s = None
            return self._remote

    def _replace(self, broken: Remote) -> None:
        """Use another connection from now on; this one may still serve another thread, so it stays open."""
        with self._lock:
            if self._remote is broken:
                self._remote = None
                self._set_aside.append(broken)

    def close(self) -> None:
        """End the connection, and with it every command under way; the next command opens another one."""
        with self._lock:
            closing = [*self._set_aside, *([self._remote] if self._remote else [])]
            self._set_aside, self._remote = [], None
        for remote in closing:
            remote.close()


class Connections:
    """The kept connections of one command, by host."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._kept: dict[str, KeptRemote] = {}

    @classmethod
    def checked_by(cls, known_hosts: str) -> Self:
        """Reach hosts whose keys stand in the fleet's own known_hosts."""
        return cls(lambda host: remote_for(host, known_hosts))

    def to(self, host: Host) -> KeptRemote:
        """Return the kept connection to a host."""
        with self._lock:
            if host.name not in self._kept:
                self._kept[host.name] = KeptRemote(lambda: self._connect(host))
            return self._kept[host.name]

    def new(self, host: Host) -> Remote:
        """Return another connection to a host, which the caller closes."""
        return self._connect(host)

    def close(self) -> None:
        """End all kept connections."""
        with self._lock:
            kept = list(self._kept.values())
        for remote in kept:
            remote.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_problem: object) -> None:
        self.close()
