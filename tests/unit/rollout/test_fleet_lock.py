"""The fleet's lock, with the host program itself run as processes against folders that stand in for hosts."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

import strixfleet.on_host.switch
from strixfleet.errors import LockHeld, Unreachable
from strixfleet.hosts.connections import Connections
from strixfleet.hosts.host_program import PROGRAM, HostProgram
from strixfleet.hosts.remote import CommandResult
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.on_host.switch.lock_record import Fence
from strixfleet.on_host.switch.records import HostLock
from strixfleet.rollout import fleet_lock
from strixfleet.rollout.fleet_lock import FleetLock
from strixfleet.tools.lock_owner import is_dead, owner


SOURCE = Path(strixfleet.on_host.switch.__file__).with_name("strixfleet_host.py")
RACE = """
import sys, time
sys.path.insert(0, sys.argv[1])
from strixfleet.on_host.switch import strixfleet_host
while time.time() < float(sys.argv[3]):
    pass
sys.exit(strixfleet_host.main(["--root", sys.argv[2], "lock", "--owner", sys.argv[4], "--ttl", "60"]))
"""


def host(name: str) -> Host:
    return Host(name, Connection("127.0.0.1"), HostSettings())


class Folder:
    """A host that is a folder; an unreachable one does not answer."""

    def __init__(self, root: Path, *, unreachable: bool = False) -> None:
        self.root = root
        self.unreachable = unreachable

    def run(self, argv: Sequence[str], *, timeout_s: float, become: bool = True) -> CommandResult:  # noqa: ARG002
        if self.unreachable:
            raise Unreachable("no answer", where=self.root.name)
        assert argv[0] == PROGRAM
        words = [sys.executable, str(SOURCE), "--root", str(self.root), *argv[1:]]
        environment = {**os.environ, "PYTHONPATH": str(SOURCE.parents[2])}
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=timeout_s, env=environment
        )
        return CommandResult(done.returncode, done.stdout, done.stderr)

    def close(self) -> None:
        pass


class Operator:
    """One controller."""

    def __init__(self, place: Path, *, unreachable: str = "") -> None:
        self.lost: list[str] = []
        self.taken: list[str] = []
        self.heard_taken = threading.Event()
        self.heard_lost = threading.Event()
        self.unreachable = {unreachable}
        self.connections = Connections(
            lambda one: Folder(place / one.name, unreachable=one.name in self.unreachable)
        )
        self.lock = FleetLock(self.connections, self.on_lost, self.on_taken)

    def on_lost(self, name: str) -> None:
        self.lost.append(name)
        self.heard_lost.set()

    def on_taken(self, why: str) -> None:
        self.taken.append(why)
        self.heard_taken.set()


def race(root: Path, source: Path) -> list[int]:
    """Let two processes reach for the lock at the same instant; give their exit codes."""
    start = str(__import__("time").time() + 0.4)
    both = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(source), str(root), start, owner], stdout=subprocess.DEVNULL
        )
        for owner in ("ann", "bob")
    ]
    return sorted(one.wait(timeout=60) for one in both)


def check_races(root: Path, count: int) -> None:
    for number in range(count):
        assert race(root, SOURCE.parents[2]) == [0, 1]
        answer = HostProgram("h", Folder(root)).call("status")
        assert answer.lock["token"] == number + 1
        HostProgram("h", Folder(root)).must("unlock", "--owner", str(answer.lock["owner"]))


def test_of_two_that_race_one_holds_the_lock(tmp_path: Path) -> None:
    check_races(tmp_path, 8)


@pytest.mark.soak
def test_two_hundred_races(tmp_path: Path) -> None:
    check_races(tmp_path, 200)


def test_all_hosts_or_none(tmp_path: Path) -> None:
    hosts = [host(name) for name in ("c", "a", "b")]
    HostProgram("c", Folder(tmp_path / "c")).must("lock", "--owner", "somebody@elsewhere pid 1")
    first = Operator(tmp_path)
    with pytest.raises(LockHeld, match="locked by somebody"):
        first.lock.take(hosts)
    for name in ("a", "b"):
        assert not HostProgram(name, Folder(tmp_path / name)).call("status").lock
    HostProgram("c", Folder(tmp_path / "c")).must("unlock", "--force")
    assert first.lock.take(hosts) == {}
    with pytest.raises(LockHeld):
        Operator(tmp_path).lock.take(hosts)
    first.lock.release()
    second = Operator(tmp_path)
    second.lock.take(hosts)
    second.lock.release()


def test_a_deaf_host_is_named_and_the_others_are_locked(tmp_path: Path) -> None:
    operator = Operator(tmp_path, unreachable="b")
    unreachable = operator.lock.take([host("a"), host("b")])
    assert list(unreachable) == ["b"]
    assert list(operator.lock.tokens) == ["a"]
    operator.lock.release()


def test_the_lock_of_a_dead_process_of_this_machine_is_taken_over(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    dead = owner().rpartition(" ")[0] + f" {child}"
    assert is_dead(dead)
    assert not is_dead(owner())
    assert not is_dead("ann@elsewhere (0a1b2c3d) pid 1")
    assert not is_dead(re.sub(r"\(\w+\)", "(0a1b2c3d)", dead)), "another machine may have the same name"
    HostProgram("a", Folder(tmp_path / "a")).must("lock", "--owner", dead)
    operator = Operator(tmp_path)
    assert operator.lock.take([host("a")]) == {}
    operator.lock.release()


def test_the_heartbeat_renews_and_says_who_went_silent_or_took_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_lock, "HEARTBEAT_S", 0.3)
    monkeypatch.setattr(fleet_lock, "LOST_AFTER_S", 6.0)
    operator = Operator(tmp_path)
    operator.lock.take([host("a"), host("b")])
    program = HostProgram("a", Folder(tmp_path / "a"))
    before = json.loads((tmp_path / "a/var/lib/strixfleet/lock.json").read_text())["deadline_s"]
    operator.lock.start()
    operator.unreachable = {"b"}
    operator.connections.close()
    assert operator.heard_lost.wait(30)
    assert set(operator.lost) == {"b"}
    assert json.loads((tmp_path / "a/var/lib/strixfleet/lock.json").read_text())["deadline_s"] > before
    root = str(tmp_path / "a")
    with HostLock(root):  # no heartbeat comes between the two
        Fence(root).release(None, force=True, owner=None)
        Fence(root).take("bob", 60)
    assert operator.heard_taken.wait(30)
    assert "took over" in operator.taken[0]
    operator.lock.release()
    assert program.call("status").lock["owner"] == "bob"


def test_a_holder_that_slept_while_somebody_took_over_writes_nothing(tmp_path: Path) -> None:
    """SIGSTOP the holder, let its lock run out, take it over, SIGCONT: what it does then is refused."""
    root = tmp_path / "a"
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from strixfleet.on_host.switch import strixfleet_host as p; root = sys.argv[2];"
        "p.main(['--root', root, 'lock', '--owner', 'ann', '--ttl', '1']); print('held', flush=True);"
        "sys.stdin.readline();"
        "sys.exit(p.main(['--root', root, 'rollback', '--token', '1']))"
    )
    argv = [sys.executable, "-c", script, str(SOURCE.parents[2]), str(root)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(argv, text=True, **pipes) as holder:  # type: ignore[call-overload] # a map of pipes
        while "held" not in holder.stdout.readline():
            pass
        holder.send_signal(signal.SIGSTOP)
        program = HostProgram("a", Folder(root))
        while program.call("lock", "--owner", "bob").error:
            pass
        before = sorted(path.read_bytes() for path in root.rglob("*.json"))
        holder.send_signal(signal.SIGCONT)
        out, _ = holder.communicate("go\n", timeout=30)
    assert holder.returncode == 1
    assert "took over" in out
    assert sorted(path.read_bytes() for path in root.rglob("*.json")) == before


def test_a_lock_that_expired_is_a_lost_lock_and_not_a_silent_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controller slept, say, and nobody took the lock over: what it planned no longer holds."""
    monkeypatch.setattr(fleet_lock, "LOCK_TTL_S", 0.05)
    monkeypatch.setattr(fleet_lock, "HEARTBEAT_S", 0.6)
    operator = Operator(tmp_path)
    operator.lock.take([host("a")])
    operator.lock.start()
    assert operator.heard_taken.wait(20)
    assert "has expired" in operator.taken[0]
    assert not operator.lost
    operator.lock.release()


def test_a_host_that_cannot_renew_counts_as_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its disk is full, say: the lease that it cannot write runs out."""
    monkeypatch.setattr(fleet_lock, "HEARTBEAT_S", 0.3)
    monkeypatch.setattr(fleet_lock, "LOST_AFTER_S", 6.0)  # b is heard on a busy machine, too
    operator = Operator(tmp_path)
    operator.lock.take([host("a"), host("b")])
    record = next(tmp_path.glob("a/**/lock.json"))
    record.with_name("lock.json.strixfleet-new").mkdir()
    operator.lock.start()
    assert operator.heard_lost.wait(20)
    assert set(operator.lost) == {"a"}
    assert not operator.taken
    operator.lock.release()
