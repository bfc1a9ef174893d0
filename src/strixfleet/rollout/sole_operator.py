"""Be the only one who changes some hosts while a `with` lasts: the fleet's lock, for `provision`."""

import _thread
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from strixfleet.errors import FleetError, LockHeld
from strixfleet.hosts.connections import Connections
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.rollout.fleet_lock import LOCK_HINT, FleetLock
from strixfleet.rollout.refuse_busy import refuse_trials, statuses


@dataclass(frozen=True, slots=True)
class Alone:
    """
    Hosts that nobody else changes now, but for those that are `refused` since they gave no lock.

    `tokens_file` holds the token of each host for the programs of a play, and changes when a host was
    rebooted; None where no lock is held.
    """

    refused: Mapping[str, FleetError]
    tokens_file: Path | None


@contextmanager
def sole_operator(hosts: Sequence[Host], connections: Connections, forks: int = 32) -> Iterator[Alone]:
    """
    Hold the fleet's lock on hosts; raise LockHeld where another operator is at work or left a host on trial.

    A reboot ends a host's lock: it is taken again then. Whoever took over meanwhile ends the work here.
    """
    lost: list[str] = []

    def end_the_work(why: str) -> None:
        lost.append(why)
        if len(lost) == 1:
            _thread.interrupt_main()

    with tempfile.TemporaryDirectory(prefix="strixfleet-lock-") as folder:
        alone_file = Path(folder) / "tokens.json"
        lock = FleetLock(
            connections,
            on_lost=lambda _name: None,  # it is rebooting, or the play says that it does not answer
            on_taken=end_the_work,
            on_taken_again=lambda: _write(alone_file, lock.tokens),
        )
        try:
            refused = lock.take(hosts)
            locked = [host for host in hosts if host.name not in refused]
            answers = statuses(locked, connections, forks)
            refuse_trials(answers)
            unsure = {name: one for name, one in answers.items() if isinstance(one, FleetError)}
            _write(alone_file, lock.tokens)
            lock.start()
            yield Alone({**refused, **unsure}, alone_file)
        except KeyboardInterrupt:
            if not lost:
                raise
            raise LockHeld(f"the fleet lock was lost: {lost[0]}", hint=LOCK_HINT) from None
        finally:
            lock.release()


def _write(file: Path, tokens: Mapping[str, int]) -> None:
    new = file.with_suffix(".new")
    new.write_text(json.dumps(tokens), encoding="utf-8")
    new.replace(file)
