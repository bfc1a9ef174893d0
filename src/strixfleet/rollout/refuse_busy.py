"""Who else is at work on hosts: the holder of a rollout's lock, or one that was cut and left a trial."""

from collections.abc import Mapping, Sequence

from strixfleet.errors import FleetError, LockHeld
from strixfleet.hosts.fan_out import fan_out
from strixfleet.hosts.host_program import HostAnswer, HostProgram
from strixfleet.hosts.reach import remote_for
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.rollout.fleet_lock import LOCK_HINT, is_dead


Answers = Mapping[str, HostAnswer | FleetError]


def statuses(hosts: Sequence[Host], known_hosts: str, forks: int) -> dict[str, HostAnswer | FleetError]:
    """Ask the host programs; hosts without one answer an error."""
    return fan_out(hosts, lambda host: _status(host, known_hosts), forks=forks)


def _status(host: Host, known_hosts: str) -> HostAnswer:
    remote = remote_for(host, known_hosts)
    try:
        return HostProgram(host.name, remote).call("status")
    finally:
        remote.close()


def on_trial(answers: Answers) -> dict[str, float]:
    """Return hosts that run a build which nobody has confirmed yet, and the seconds until they go back."""
    rows = {name: one.pending for name, one in answers.items() if isinstance(one, HostAnswer)}
    return {name: float(str(row["left_s"])) for name, row in rows.items() if row}


def refuse_locked(answers: Answers) -> None:
    """Raise LockHeld where an operator who may be alive holds the lock of a host."""
    for name, one in answers.items():
        if isinstance(one, HostAnswer) and one.lock and not is_dead(str(one.lock["owner"])):
            text = f"locked by {one.lock['owner']} since {one.lock['since']}"
            raise LockHeld(text, where=name, hint=LOCK_HINT)


def refuse_busy(answers: Answers) -> None:
    """Raise LockHeld where a rollout is at work, or was cut and left a host on trial."""
    refuse_locked(answers)
    for name, left_s in on_trial(answers).items():
        hint = f"it goes back by itself in {left_s:.0f} s: wait, or let the rollout go on"
        raise LockHeld("runs a build on trial, of a rollout that was cut", where=name, hint=hint)
