"""Drive the state machine: perform its actions in threads, feed it the events, keep the journal."""

import contextlib
import functools
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from strixfleet.errors import FleetError
from strixfleet.fleet.progress import step as say_step
from strixfleet.rollout.host_work import FAILURE_EVENTS, HostWork
from strixfleet.rollout.journal import Journal
from strixfleet.rollout.rollout_state import Action, ActionKind, Event, EventKind, Rollout
from strixfleet.rollout.step import ReportedBuilds, resume, step


Stage = Callable[[Sequence[str]], Mapping[str, Event]]
DISCARD_S = 60.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DOING = {
    ActionKind.STAGE: "staging",
    ActionKind.ACTIVATE: "activating",
    ActionKind.GATE: "running the gate",
    ActionKind.CONFIRM: "confirming",
    ActionKind.RETURN: "returning",
    ActionKind.DISCARD: "discarding the staged build",
}


def _defect(error: Exception) -> str:
    return f"a defect in strixfleet: {type(error).__name__}: {error}"


@contextlib.contextmanager
def _signals_to(act: Callable[..., None]) -> Iterator[None]:
    """
    Let Ctrl-C, SIGTERM and a closed terminal call a function, wherever the main thread is just then.

    An exception between two events would leave the hosts on trial; what nohup ignores stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [one for one in SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]
    before = {number: signal.signal(number, act) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(slots=True)
class Driver:
    """
    One rollout under way.

    `events` are fed from outside, too: by the heartbeat. `returning` are the hosts whose return has begun.
    """

    works: Mapping[str, HostWork]
    stage: Stage
    journal: Journal
    events: "queue.Queue[Event]" = field(default_factory=queue.Queue)
    interrupted: bool = False
    stopped: bool = False
    returning: set[str] = field(default_factory=set)
    discards: list[threading.Thread] = field(default_factory=list)

    def run(self, state: Rollout, reported: Mapping[str, ReportedBuilds | None] | None) -> Rollout:
        """Run until every host has an outcome; the first interruption stops the rollout, a second one us."""
        with _signals_to(self.interrupt):
            return self._run(state, reported)

    def interrupt(self, *_signal: object) -> None:
        """Stop the rollout before its next event; end this process where that was asked for already."""
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True

    def _run(self, state: Rollout, reported: Mapping[str, ReportedBuilds | None] | None) -> Rollout:
        if reported is None:
            state, actions = step(state, Event(EventKind.BEGIN))
        else:
            state, actions = resume(state, reported)
        self.journal.keep(state)
        self._begin(actions)
        while not state.finished:
            event = self._next()
            before = state
            state, actions = step(state, event)
            if state is not before:
                self._record(event, state)
            self._begin(actions)
        for thread in self.discards:
            thread.join(timeout=DISCARD_S)
        return state

    def _next(self) -> Event:
        while not self.interrupted or self.stopped:
            with contextlib.suppress(queue.Empty):
                return self.events.get(timeout=0.5)
        self.stopped = True
        say_step("stopping: returning the hosts on trial; interrupt again to let them revert by themselves")
        return Event(EventKind.STOP, reason="stopped by the operator")

    def _record(self, event: Event, state: Rollout) -> None:
        reason = f": {event.reason}" if event.reason else ""
        line = f"{event.host or 'all'}: {event.kind.value.replace('_', ' ')}{reason}"
        say_step(line)
        self.journal.write(line)
        self.journal.keep(state)

    def _begin(self, actions: Sequence[Action]) -> None:
        staging = [action.host for action in actions if action.kind is ActionKind.STAGE]
        if staging:
            self._spawn(lambda: self._stage(staging))
        for action in actions:
            match action.kind:
                case ActionKind.STAGE:
                    pass
                case ActionKind.HALT:
                    self.journal.write(f"halted: {action.reason}")
                case ActionKind.DONE:
                    self.journal.write("done")
                case _:
                    self._begin_on_host(action)

    def _begin_on_host(self, action: Action) -> None:
        line = f"{action.host}: {_DOING[action.kind]}"
        self.journal.write(line)
        if action.kind is not ActionKind.DISCARD:
            say_step(line)
        if action.kind is ActionKind.RETURN:
            self.returning.add(action.host)
        thread = self._spawn(functools.partial(self._do, action))
        if action.kind is ActionKind.DISCARD:
            self.discards.append(thread)

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
        except Exception as error:  # noqa: BLE001 - the rollout must reach its end
            events = {name: Event(EventKind.STAGE_FAILED, name, _defect(error)) for name in names}
        for name in names:
            self.events.put(
                events.get(
                    name, Event(EventKind.STAGE_FAILED, name, "staging reported nothing about this host")
                )
            )

    def _do(self, action: Action) -> None:
        try:
            event = self.works[action.host].do(action)
        except Exception as error:  # noqa: BLE001 - the other hosts must reach their end
            event = Event(FAILURE_EVENTS[action.kind], action.host, _defect(error))
        # A return closes the connection that a gate measures over: the host's outcome is that of the return.
        stale = (
            event.kind is EventKind.LOST
            and action.kind is not ActionKind.RETURN
            and action.host in self.returning
        )
        if action.kind is not ActionKind.DISCARD and not stale:
            self.events.put(event)
