"""What a rollout does on one host: activate, gate, confirm, return, discard. Each ends in an event."""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

from strixfleet.errors import FleetError, HostError
from strixfleet.hosts.connections import Connections, KeptRemote
from strixfleet.hosts.host_program import SWITCH_TIMEOUT_S, HostProgram
from strixfleet.hosts.remote import Remote
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.rollout.gate import Before, Gate, measure_before, recall_before
from strixfleet.rollout.gate_watch import Watch
from strixfleet.rollout.judge_gate import Result
from strixfleet.rollout.rollout_state import Action, ActionKind, Event, EventKind
from strixfleet.rollout.survey import SurveyedHost
from strixfleet.speed.measure.remote_bench import Bench


RETURN_PAUSE_S = 3.0
RETURN_GRACE_S = 30.0
REASON_CHARS = 300
GATE_EVENTS = {
    Result.PASSED: EventKind.GATE_PASSED,
    Result.FAILED: EventKind.GATE_FAILED,
    Result.INVALID: EventKind.GATE_INVALID,
}
FAILURE_EVENTS = {
    ActionKind.STAGE: EventKind.STAGE_FAILED,
    ActionKind.ACTIVATE: EventKind.ACTIVATION_FAILED,
    ActionKind.GATE: EventKind.GATE_INVALID,  # an error of ours, or the host's: no verdict on the build
    ActionKind.CONFIRM: EventKind.CONFIRM_FAILED,
    ActionKind.RETURN: EventKind.RETURN_FAILED,
    ActionKind.DISCARD: EventKind.STAGE_FAILED,
}


@dataclass(frozen=True, slots=True)
class RolloutContext:
    """
    What all hosts of a rollout share.

    `token` returns a host's token of the fleet lock, `note` keeps facts for the report.
    """

    connections: Connections
    known_hosts: str
    lease_s: float
    soak_s: float
    retry: bool
    token: Callable[[str], int | None]
    note: Callable[..., None]


@dataclass(slots=True)
class HostWork:
    """The work on one host; the canary is measured and watched for longer than the others."""

    surveyed: SurveyedHost
    canary: bool
    context: RolloutContext
    before: Before = field(default_factory=Before)
    downtime: Watch | None = None
    _closed: threading.Event = field(default_factory=threading.Event)

    @property
    def host(self) -> Host:
        """Return the host as the inventory has it."""
        return self.surveyed.host

    @property
    def want(self) -> str:
        """Return the id of the build that the host is to run."""
        return self.surveyed.want.id

    def do(self, action: Action) -> Event:
        """Do one action; an error becomes an event."""
        try:
            return self._act(action)
        except HostError as error:
            return self._event(EventKind.LOST, error.message)
        except FleetError as error:
            return self._event(FAILURE_EVENTS[action.kind], error.message)

    def _act(self, action: Action) -> Event:
        match action.kind:
            case ActionKind.ACTIVATE:
                return self.activate()
            case ActionKind.GATE:
                return self.gate()
            case ActionKind.CONFIRM:
                return self.confirm()
            case ActionKind.RETURN:
                return self.go_back(action)
            case ActionKind.DISCARD:
                return self.discard()
        raise ValueError(f"{action.kind} does not concern a single host")

    def _event(self, kind: EventKind, reason: str = "") -> Event:
        return Event(kind, self.host.name, reason)

    @property
    def _remote(self) -> KeptRemote:
        return self.context.connections.to(self.host)

    def _program(self, remote: Remote) -> HostProgram:
        return HostProgram(self.host.name, remote, self.context.token(self.host.name))

    def activate(self) -> Event:
        """Measure the current build, then switch to the new one on trial; its lease begins here."""
        seen = self.surveyed.seen
        self.context.note(self.host.name, build_before=seen.current_build)
        bench = Bench(self.host, self._remote)
        self.before = measure_before(self.host, seen, bench, fresh=self.canary)
        self.downtime = Watch(self.host, self.context.known_hosts)
        self.downtime.start_counting(self.context.lease_s)
        lease = ["--lease", str(self.context.lease_s)]
        retry = ["--retry"] if self.context.retry else []
        program = self._program(self._remote)
        answer = program.call("activate", self.want, *lease, *retry, timeout_s=SWITCH_TIMEOUT_S)
        if answer.error:
            return self._event(EventKind.ACTIVATION_FAILED, answer.error)
        if not answer.changed:  # it is not on trial, so nothing would revert it
            return self._event(EventKind.ACTIVATION_FAILED, "another operator has activated this build")
        return self._event(EventKind.ACTIVATED)

    def gate(self) -> Event:
        """Check whether the new build may stay."""
        if self.before.build is None:
            self._recall_before()
        soak_s = self.context.soak_s if self.canary else 0.0
        gate = Gate(self.host, self.context.known_hosts, self._remote, self.before, soak_s)
        result, reason, checks = gate.run()
        self.context.note(self.host.name, gate=checks)
        return self._event(GATE_EVENTS[result], reason)

    def _recall_before(self) -> None:
        """Learn about the previous build from the host, after another controller activated the new one."""
        previous = self._program(self._remote).call("status").pending.get("from")
        if isinstance(previous, str):
            self.before = recall_before(self.host, self.surveyed.seen, self._remote, previous)

    def confirm(self) -> Event:
        """Confirm over a new connection: a host that refuses logins has to revert."""
        with closing(self.context.connections.new(self.host)) as remote:
            program = self._program(remote)
            answer = program.call("confirm", self.want)
            if answer.error:
                return self._event(EventKind.CONFIRM_FAILED, answer.error)
            for build in set(answer.builds) - {answer.current, answer.previous}:
                program.call("discard", build)
        self._note_downtime()
        return self._event(EventKind.CONFIRMED)

    def go_back(self, action: Action) -> Event:
        """Return to the previous build, or see that the host has reverted; retry until its lease is over."""
        self._remote.close()  # ends a measurement over a dead link
        deadline = time.monotonic() + self.context.lease_s + RETURN_GRACE_S
        while True:
            try:
                return self._return(action)
            except HostError as error:
                if time.monotonic() > deadline:
                    late = "a build on trial reverts by itself when its lease is over"
                    return self._event(EventKind.LOST, f"{error.message}; {late}")
            self._closed.wait(RETURN_PAUSE_S)

    def _return(self, action: Action) -> Event:
        program = self._program(self._remote)
        state = program.call("status")
        reason = (action.reason or "returned").splitlines()[0][:REASON_CHARS]
        confirmed = not state.pending and state.current == self.want
        if confirmed and not action.even_confirmed:
            return self._event(EventKind.CONFIRMED)
        if confirmed:
            program.must("rollback", "--reason", reason, timeout_s=SWITCH_TIMEOUT_S)
        elif state.pending:
            forget = [] if action.verdict else ["--forget"]
            answer = program.call("return", "--reason", reason, *forget, timeout_s=SWITCH_TIMEOUT_S)
            if answer.error and answer.pending:
                return self._event(EventKind.RETURN_FAILED, answer.error)
        self._note_downtime()
        after = program.call("discard", self.want)  # a retry builds it again, from ccache
        if after.current is None:
            self.context.note(self.host.name, serves_nothing=True)
            return self._event(EventKind.RETURNED, action.reason)
        problem = Watch(self.host, self.context.known_hosts).settled(self._remote)
        if problem:
            return self._event(EventKind.RETURN_FAILED, f"{after.current} is back, but {problem}")
        return self._event(EventKind.RETURNED, action.reason)

    def _note_downtime(self) -> None:
        if self.downtime is not None:
            downtime_s = self.downtime.counted()
            if downtime_s is not None:
                self.context.note(self.host.name, downtime_s=downtime_s)
            self.downtime = None

    def discard(self) -> Event:
        """Remove the staged build of a host that was never activated."""
        answer = self._program(self._remote).call("discard", self.want)
        return self._event(EventKind.STAGED, answer.error)

    def close(self) -> None:
        """Stop waiting for a host that does not answer."""
        self._closed.set()
