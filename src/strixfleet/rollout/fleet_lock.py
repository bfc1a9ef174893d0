"""
The lock of a fleet: one operator at a time. The hosts keep it, so that it holds for several controllers.

It is taken on all hosts in the order of their names, or on none. A heartbeat keeps it. A host that has not
answered for LOST_AFTER_S is reported as lost; a lock that another operator took over ends the work.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from strixfleet.errors import FleetError, HostError, LockHeld
from strixfleet.hosts.connections import Connections
from strixfleet.hosts.fan_out import fan_out
from strixfleet.hosts.host_program import HostProgram
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.on_host.envelope import LOCK_EXPIRED
from strixfleet.tools.lock_owner import BOOT_ID, is_dead, owner


HEARTBEAT_S = 15.0
LOCK_TTL_S = 45.0  # three heartbeats
LOST_AFTER_S = 30.0
CALL_TIMEOUT_S = 8.0
LOCK_HINT = "wait until it is free, or see `strixfleet unlock`; the lock of a dead holder expires after 45 s"


@dataclass(slots=True)
class FleetLock:
    """
    The lock on some hosts; `on_lost` is told of a host without heartbeat, `on_taken` of a lost lock.

    With `on_taken_again` the lock of a host that was rebooted, which ends it, is taken again.
    """

    connections: Connections
    on_lost: Callable[[str], None]
    on_taken: Callable[[str], None]
    on_taken_again: Callable[[], None] | None = None
    tokens: dict[str, int] = field(default_factory=dict)
    _hosts: dict[str, Host] = field(default_factory=dict)
    _boots: dict[str, str] = field(default_factory=dict)
    _heard: dict[str, float] = field(default_factory=dict)
    _end: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def take(self, hosts: Iterable[Host]) -> dict[str, FleetError]:
        """Take the lock on all hosts that answer and return the others; raise LockHeld and keep none."""
        unreachable: dict[str, FleetError] = {}
        for host in sorted(hosts, key=lambda one: one.name):
            try:
                self.tokens[host.name] = self._take(host)
                if self.on_taken_again is not None:
                    self._boots[host.name] = self._boot(host)
            except HostError as error:
                unreachable[host.name] = error
            except FleetError:
                self.release()
                raise
            else:
                self._hosts[host.name] = host
                self._heard[host.name] = time.monotonic()
        return unreachable

    def _take(self, host: Host) -> int:
        program = HostProgram(host.name, self.connections.to(host))
        words = ("lock", "--owner", owner(), "--ttl", str(LOCK_TTL_S))
        answer = program.call(*words, timeout_s=CALL_TIMEOUT_S)
        holder = str(answer.lock.get("owner", ""))
        if answer.error and is_dead(holder):
            program.call("unlock", "--owner", holder, timeout_s=CALL_TIMEOUT_S)
            answer = program.call(*words, timeout_s=CALL_TIMEOUT_S)
        if answer.error or answer.token is None:
            raise LockHeld(
                answer.error or "the host program returned no token", where=host.name, hint=LOCK_HINT
            )
        return answer.token

    def start(self) -> None:
        """Begin the heartbeat."""
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._end.wait(HEARTBEAT_S / 3):
            due = [one for one in self._hosts.values() if self._is_due(one.name)]
            for name, result in fan_out(due, self._renew).items():
                if not isinstance(result, FleetError):
                    self._heard[name] = time.monotonic()
                elif not isinstance(result, HostError):
                    self.on_taken(f"{name}: {result.message}")
            for name, heard in self._heard.items():
                if time.monotonic() - heard > LOST_AFTER_S:
                    self.on_lost(name)

    def _is_due(self, name: str) -> bool:
        return time.monotonic() - self._heard[name] >= HEARTBEAT_S * 0.66

    def _renew(self, host: Host) -> None:
        program = HostProgram(host.name, self.connections.to(host), self.tokens[host.name])
        answer = program.call("renew", timeout_s=CALL_TIMEOUT_S)
        if answer.code == LOCK_EXPIRED and self.on_taken_again is not None and self._is_rebooted(host):
            self._take_again(host)
            self.on_taken_again()
        elif answer.lost_lock:
            raise LockHeld(answer.error, where=host.name)
        elif answer.error:  # a full disk, say: its lease runs out, as that of a host which does not answer
            raise HostError(answer.error, where=host.name)

    def _is_rebooted(self, host: Host) -> bool:
        return self._boot(host) != self._boots[host.name]

    def _boot(self, host: Host) -> str:
        """Name the boot of a host."""
        ask = ["cat", BOOT_ID]
        done = self.connections.to(host).run(ask, timeout_s=CALL_TIMEOUT_S, become=False)
        return done.stdout.strip()

    def _take_again(self, host: Host) -> None:
        """Take the lock that a reboot ended; its token tells whether somebody had it meanwhile."""
        old = self.tokens[host.name]
        self.tokens[host.name], self._boots[host.name] = self._take(host), self._boot(host)
        if self.tokens[host.name] != old + 1:
            raise LockHeld("another operator worked on this host meanwhile", where=host.name)

    def release(self) -> None:
        """Release the lock wherever it is still ours."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(timeout=CALL_TIMEOUT_S * 2)
        fan_out(list(self._hosts.values()), self._unlock)
        self._hosts, self.tokens = {}, {}

    def _unlock(self, host: Host) -> None:
        token = self.tokens.get(host.name)
        HostProgram(host.name, self.connections.to(host), token).call("unlock", timeout_s=CALL_TIMEOUT_S)
