"""Drives the state machine: performs its actions in threads, feeds it the events, keeps the journal."""

import functools
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from strixfleet.errors import FleetError
from strixfleet.fleet.progress import step as say_step
from strixfleet.rollout.host_work import HostWork
from strixfleet.rollout.journal import Journal
from strixfleet.rollout.rollout_state import Action, ActionKind, Event, EventKind, Rollout
from strixfleet.rollout.step import ReportedBuilds, resume, step


Stage = Callable[[Sequence[str]], Mapping[str, Event]]
DISCARD_S = 60.0
_DOING = {
    ActionKind.STAGE: "staging",
    ActionKind.ACTIVATE: "activating",
    ActionKind.GATE: "under the gate",
    ActionKind.CONFIRM: "confirming",
    ActionKind.RETURN: "returning",
    ActionKind.DISCARD: "discarding the staged build",
}


def _defect(error: Exception) -> str:
    return f"a defect in strixfleet: {type(error).__name__}: {error}"


@dataclass(slots=True)
class Driver:
    """One rollout under way."""

    works: Mapping[str, HostWork]
    stage: Stage
    journal: Journal
    events: "queue.Queue[Event]" = field(default_factory=queue.Queue)
    stopped: bool = False
    returning: set[str] = field(default_factory=set)
    last: list[threading.Thread] = field(default_factory=list)

    def run(self, state: Rollout, sights: Mapping[str, ReportedBuilds | None] | None) -> Rollout:
        """Go on until all hosts have an end; an interruption is one more event, a second one ends it all."""
        if sights is None:
            state, actions = step(state, Event(EventKind.BEGIN))
        else:
            state, actions = resume(state, sights)
        self._keep(state)
        self._begin(actions)
        while not state.finished:
            event = self._next()
            before = state
            state, actions = step(state, event)
            if state is not before:
                self._record(event, state)
            self._begin(actions)
        for thread in self.last:
            thread.join(timeout=DISCARD_S)
        return state

    def _next(self) -> Event:
        try:
            while True:
                try:
                    return self.events.get(timeout=1.0)
                except queue.Empty:
                    continue
        except KeyboardInterrupt:
            if self.stopped:
                raise
            self.stopped = True
            say_step("stopping: hosts on trial are returned; interrupt again to leave that to themselves")
            return Event(EventKind.STOP, reason="stopped by the operator")

    def _record(self, event: Event, state: Rollout) -> None:
        reason = f": {event.reason}" if event.reason else ""
        line = f"{event.host or 'all'}: {event.kind.value.replace('_', ' ')}{reason}"
        say_step(line)
        self.journal.write(line)
        self._keep(state)

    def _keep(self, state: Rollout) -> None:
        self.journal.keep(state)

    def _begin(self, actions: Sequence[Action]) -> None:
        staging = [action.host for action in actions if action.do is ActionKind.STAGE]
        if staging:
            self._spawn(lambda: self._stage(staging))
        for action in actions:
            if action.do in {ActionKind.HALT, ActionKind.DONE}:
                self.journal.write(f"halted: {action.reason}" if action.do is ActionKind.HALT else "done")
            elif action.do is not ActionKind.STAGE:
                if action.do is not ActionKind.DISCARD:
                    say_step(f"{action.host}: {_DOING[action.do]}")
                self.journal.write(f"{action.host}: {_DOING[action.do]}")
                self.returning |= {action.host} if action.do is ActionKind.RETURN else set()
                thread = self._spawn(functools.partial(self._do, action))
                self.last += [thread] if action.do is ActionKind.DISCARD else []

    @staticmethod
    def _spawn(act: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=act, daemon=True)
        thread.start()
        return thread

    def _stage(self, names: Sequence[str]) -> None:
        try:
            say_step(f"staging on {', '.join(names)}")
            events = self.stage(names)
        except FleetError as error:
            events = {name: Event(EventKind.STAGE_FAILED, name, error.message) for name in names}
        except Exception as error:  # noqa: BLE001 - nothing may keep the rollout from its end
            events = {name: Event(EventKind.STAGE_FAILED, name, _defect(error)) for name in names}
        for name in names:
            self.events.put(events.get(name, Event(EventKind.STAGE_FAILED, name, "nothing was heard of it")))

    def _do(self, action: Action) -> None:
        try:
            event = self.works[action.host].do(action)
        except Exception as error:  # noqa: BLE001 - a defect must not leave the other hosts behind
            kinds = {ActionKind.CONFIRM: EventKind.CONFIRM_FAILED, ActionKind.RETURN: EventKind.RETURN_FAILED}
            kind = kinds.get(
                action.do,
                EventKind.GATE_FAILED if action.do is ActionKind.GATE else EventKind.ACTIVATION_FAILED,
            )
            event = Event(kind, action.host, _defect(error))
        # A return closes the line that a gate measures over; what became of the host, the return says.
        stale = (
            event.kind is EventKind.LOST
            and action.do is not ActionKind.RETURN
            and action.host in self.returning
        )
        if action.do is not ActionKind.DISCARD and not stale:
            self.events.put(event)
