"""Refuse hosts that somebody else is changing, or that an interrupted rollout left on trial."""

from collections.abc import Iterable, Mapping

from strixfleet.errors import FleetError, LockHeld
from strixfleet.hosts.connections import Connections
from strixfleet.hosts.fan_out import fan_out
from strixfleet.hosts.host_program import HostAnswer, HostProgram
from strixfleet.hosts.remote import Remote
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.rollout.fleet_lock import LOCK_HINT
from strixfleet.tools.lock_owner import is_dead


Answers = Mapping[str, HostAnswer] | Mapping[str, HostAnswer | FleetError]


def status_of_program(host: Host, remote: Remote) -> HostAnswer:
    """Ask the host program what is current, on trial, refused and locked."""
    return HostProgram(host.name, remote).call("status")


def statuses(
    hosts: Iterable[Host], connections: Connections, forks: int
) -> dict[str, HostAnswer | FleetError]:
    """Ask many host programs at once; a host without one gives an error."""
    return fan_out(hosts, lambda host: status_of_program(host, connections.to(host)), forks=forks)


def on_trial(answers: Answers) -> dict[str, float]:
    """Return the hosts that run an unconfirmed build, and the seconds until each reverts."""
    rows = {name: one.pending for name, one in answers.items() if isinstance(one, HostAnswer)}
    return {name: float(str(row["left_s"])) for name, row in rows.items() if row}


def refuse_locked(answers: Answers) -> None:
    """Raise LockHeld where an operator who may still be alive holds the lock of a host."""
    for name, one in answers.items():
        if isinstance(one, HostAnswer) and one.lock and not is_dead(str(one.lock["owner"])):
            text = f"locked by {one.lock['owner']} since {one.lock['since']}"
            raise LockHeld(text, where=name, hint=LOCK_HINT)


def refuse_busy(answers: Answers) -> None:
    """Raise LockHeld where a rollout is under way, or was interrupted and left a host on trial."""
    refuse_locked(answers)
    refuse_trials(answers)


def refuse_trials(answers: Answers) -> None:
    """Raise LockHeld where an interrupted rollout left a host on trial."""
    for name, left_s in on_trial(answers).items():
        hint = f"wait {left_s:.0f} s for it to revert, or resume that rollout"
        text = "is still running an unconfirmed build from an interrupted rollout"
        raise LockHeld(text, where=name, hint=hint)
