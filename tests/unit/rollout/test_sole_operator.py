"""Who provisions is alone on the hosts: no other lock, no trial of others, also after a reboot."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from strixfleet.errors import LockHeld
from strixfleet.hosts.connections import Connections
from strixfleet.hosts.host_program import HostProgram
from strixfleet.hosts.remote import CommandResult
from strixfleet.on_host.switch.records import Record, deadline
from strixfleet.rollout import fleet_lock
from strixfleet.rollout.sole_operator import sole_operator
from strixfleet.tools.lock_owner import owner
from tests.unit.rollout.test_fleet_lock import Folder, host


class Booted(Folder):
    """A host that is a folder, with a boot of its own."""

    def run(self, argv: Sequence[str], *, timeout_s: float, become: bool = True) -> CommandResult:
        if argv[0] == "cat":
            boot = self.root / "boot"
            return CommandResult(0, boot.read_text() if boot.exists() else "first", "")
        return super().run(argv, timeout_s=timeout_s, become=become)


def connections(place: Path, unreachable: str = "") -> Connections:
    return Connections(lambda one: Booted(place / one.name, unreachable=one.name == unreachable))


def holder(place: Path, name: str) -> str:
    return str(HostProgram(name, Folder(place / name)).call("status").lock.get("owner", ""))


def test_the_lock_is_held_for_the_time_of_the_work_and_its_tokens_reach_a_play(tmp_path: Path) -> None:
    with sole_operator([host("h1")], connections(tmp_path)) as alone:
        assert holder(tmp_path, "h1") == owner()
        assert alone.tokens_file
        assert json.loads(alone.tokens_file.read_text()) == {"h1": 1}
    assert holder(tmp_path, "h1") == ""
    assert not alone.tokens_file.exists()


def test_another_operator_keeps_us_out(tmp_path: Path) -> None:
    HostProgram("h1", Folder(tmp_path / "h1")).must("lock", "--owner", "ann@elsewhere (0a1b2c3d) pid 1")
    with (
        pytest.raises(LockHeld, match="h1: locked by ann"),
        sole_operator([host("h1")], connections(tmp_path)),
    ):
        pytest.fail("entered")


def test_a_trial_that_nobody_watches_keeps_us_out_and_the_lock_is_released(tmp_path: Path) -> None:
    on_trial = {"from": "b1", "to": "b2", "token": 1, **deadline(60)}
    HostProgram("h1", Folder(tmp_path / "h1")).must("unlock", "--force")  # makes the folder of records
    Record(str(tmp_path / "h1"), "activation.json", bool).write(on_trial)
    with (
        pytest.raises(LockHeld, match="unconfirmed build"),
        sole_operator([host("h1")], connections(tmp_path)),
    ):
        pytest.fail("entered")
    assert holder(tmp_path, "h1") == ""


def test_a_host_that_gives_no_lock_is_named(tmp_path: Path) -> None:
    with sole_operator([host("h1"), host("h2")], connections(tmp_path, "h2")) as alone:
        assert {*alone.refused} == {"h2"}


def test_the_lock_is_taken_again_after_a_reboot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_lock, "HEARTBEAT_S", 0.3)
    with sole_operator([host("h1")], connections(tmp_path)) as alone:
        assert alone.tokens_file
        record = Record(str(tmp_path / "h1"), "lock.json", bool)
        (tmp_path / "h1" / "boot").write_text("second")
        record.write({**record.read(), "boot_id": "another boot"})
        assert holder(tmp_path, "h1") == ""
        end_s = time.monotonic() + 20
        while json.loads(alone.tokens_file.read_text()) != {"h1": 2} and time.monotonic() < end_s:
            time.sleep(0.1)
        assert holder(tmp_path, "h1") == owner()
        assert json.loads(alone.tokens_file.read_text()) == {"h1": 2}


def test_the_work_ends_where_somebody_took_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_lock, "HEARTBEAT_S", 0.3)
    lost = r"the fleet lock was lost: h1: .*(took over|expired or was released|locked by ann)"
    with pytest.raises(LockHeld, match=lost), sole_operator([host("h1")], connections(tmp_path)):  # noqa: PT012
        other = HostProgram("h1", Folder(tmp_path / "h1"))
        other.must("unlock", "--force")
        other.call("lock", "--owner", "ann")
        time.sleep(20)
