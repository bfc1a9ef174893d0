"""What a rollout does on one host: activate, gate, confirm, return; each gives the event that came of it."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from strixfleet.errors import FleetError, HostError
from strixfleet.fleet.session import ProbedHost
from strixfleet.hosts.host_program import SWITCH_TIMEOUT_S, HostProgram
from strixfleet.hosts.reach import remote_for
from strixfleet.hosts.remote import Remote
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.on_host.questions import Json
from strixfleet.rollout.gate import Before, Gate, measure_before, recall_before
from strixfleet.rollout.gate_watch import Watch
from strixfleet.rollout.rollout_state import Action, Event, EventKind
from strixfleet.speed.measure.remote_bench import Bench


RETURN_PAUSE_S = 3.0
RETURN_GRACE_S = 30.0


@dataclass(frozen=True, slots=True)
class RolloutContext:
    """What holds for all hosts of a rollout; `token` gives a host's token of the fleet lock."""

    known_hosts: str
    lease_s: float
    soak_s: float
    retry: bool
    token: Callable[[str], int | None]
    note: Callable[..., None]
    forget: bool = False  # what goes back is not remembered as bad


@dataclass(slots=True)
class HostWork:
    """One host; `want` is the build id that it is to run, `canary` whether it goes first."""

    host: Host
    seen: ProbedHost
    want: str
    canary: bool
    terms: RolloutContext
    before: Before = field(default_factory=Before)
    watch: Watch | None = None
    _remote: Remote | None = None
    _over: threading.Event = field(default_factory=threading.Event)

    def do(self, action: Action) -> Event:
        """Do one action; whatever goes wrong is an event."""
        deeds = {
            "activate": self.activate,
            "gate": self.gate,
            "confirm": self.confirm,
            "return": self.go_back,
            "discard": self.discard,
        }
        try:
            return deeds[action.do.value](action)
        except HostError as error:
            return Event(EventKind.LOST, self.host.name, error.message)
        except FleetError as error:
            failures = {"activate": EventKind.ACTIVATION_FAILED, "gate": EventKind.GATE_FAILED}
            kinds = {**failures, "confirm": EventKind.CONFIRM_FAILED, "return": EventKind.RETURN_FAILED}
            return Event(kinds.get(action.do.value, EventKind.STAGE_FAILED), self.host.name, error.message)

    def _program(self, remote: Remote) -> HostProgram:
        return HostProgram(self.host.name, remote, self.terms.token(self.host.name))

    def _line(self) -> Remote:
        """Return the connection that measuring goes over."""
        if self._remote is None:
            self._remote = remote_for(self.host, self.terms.known_hosts)
        return self._remote

    def _event(self, kind: EventKind, reason: str = "") -> Event:
        return Event(kind, self.host.name, reason)

    def activate(self, _action: Action) -> Event:
        """Measure the old build, then switch; the host counts its lease from here."""
        remote = self._line()
        self.before = measure_before(self.host, self.seen, Bench(self.host, remote), fresh=self.canary)
        self.terms.note(self.host.name, **{"from": self.before.build})
        self.watch = Watch(self.host, self.terms.known_hosts)
        self.watch.start_counting(self.terms.lease_s)
        words = ["activate", self.want, "--lease", str(self.terms.lease_s)]
        retry = ["--retry"] if self.terms.retry else []
        answer = self._program(remote).call(*words, *retry, timeout_s=SWITCH_TIMEOUT_S)
        if answer.error:
            return self._event(EventKind.ACTIVATION_FAILED, answer.error)
        if not answer.changed:  # it is not on trial, so nothing would take it back
            return self._event(EventKind.ACTIVATION_FAILED, "somebody else has made it current meanwhile")
        return self._event(EventKind.ACTIVATED)

    def gate(self, _action: Action) -> Event:
        """Look whether the new build may stay."""
        if self.before.build is None:
            self._recall()
        soak_s = self.terms.soak_s if self.canary else 0.0
        gate = Gate(self.host, self.terms.known_hosts, self._line(), self.before, soak_s)
        result, reason, rows = gate.run()
        checks: list[Json] = [row.to_json() for row in rows]
        self.terms.note(self.host.name, gate=checks)
        kinds = {
            "passed": EventKind.GATE_PASSED,
            "failed": EventKind.GATE_FAILED,
            "invalid": EventKind.GATE_INVALID,
        }
        return self._event(kinds[result.value], reason)

    def _recall(self) -> None:
        """Find the yardstick again where another controller has activated, and died."""
        old = self._program(self._line()).call("status").pending.get("from")
        if isinstance(old, str):
            self.before = recall_before(self.host, self.seen, self._line(), old)

    def confirm(self, _action: Action) -> Event:
        """Confirm over a new connection: a host that nobody can log in to any more goes back."""
        remote = remote_for(self.host, self.terms.known_hosts)
        try:
            program = self._program(remote)
            answer = program.call("confirm", self.want)
            if answer.error:
                return self._event(EventKind.CONFIRM_FAILED, answer.error)
            for build in set(answer.builds) - {answer.current, answer.previous}:
                program.call("discard", build)
        finally:
            remote.close()
        self._finish()
        return self._event(EventKind.CONFIRMED)

    def go_back(self, action: Action) -> Event:
        """Take the build back, or see that the host did so by itself; try until its lease must be over."""
        if self._remote is not None:
            self._remote.close()  # so that a measurement over a dead link ends
            self._remote = None
        deadline = time.monotonic() + self.terms.lease_s + RETURN_GRACE_S
        while True:
            remote = remote_for(self.host, self.terms.known_hosts)
            try:
                return self._take_back(remote, action.reason)
            except HostError as error:
                if time.monotonic() > deadline:
                    late = "it goes back by itself when its lease is over"
                    return self._event(EventKind.LOST, f"{error.message}; {late}")
            finally:
                remote.close()
            self._over.wait(RETURN_PAUSE_S)

    def _take_back(self, remote: Remote, reason: str) -> Event:
        program = self._program(remote)
        state = program.call("status")
        first_line = (reason or "returned").splitlines()[0][:300]
        if not state.pending and state.current == self.want:
            if not reason.startswith("halted:"):
                return self._event(EventKind.CONFIRMED)
            program.must("rollback", "--reason", first_line, timeout_s=SWITCH_TIMEOUT_S)
        elif state.pending:
            forget = ["--forget"] if self.terms.forget else []
            answer = program.call("return", "--reason", first_line, *forget, timeout_s=SWITCH_TIMEOUT_S)
            if answer.error and answer.pending:
                return self._event(EventKind.RETURN_FAILED, answer.error)
        self._finish()
        after = program.call("discard", self.want)  # a retry builds it anew, from ccache
        if after.current is None:
            self.terms.note(self.host.name, after="not serving: there was no build before")
            return self._event(EventKind.RETURNED, reason)
        problem = Watch(self.host, self.terms.known_hosts).settled(remote)
        if problem:
            return self._event(EventKind.RETURN_FAILED, f"{after.current} is back, but {problem}")
        return self._event(EventKind.RETURNED, reason)

    def _finish(self) -> None:
        if self.watch is not None:
            found = self.watch.counted()
            if found is not None:
                self.terms.note(self.host.name, downtime_s=found)
            self.watch = None

    def discard(self, _action: Action) -> Event:
        """Remove the staged build of a host that was never touched."""
        answer = self._program(self._line()).call("discard", self.want)
        return self._event(EventKind.STAGED, answer.error)

    def close(self) -> None:
        """End what is left."""
        self._over.set()
        if self._remote is not None:
            self._remote.close()
