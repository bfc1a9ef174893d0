"""The host program on a bad day: damaged records, a full disk, servers that do not restart. It goes back."""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strixfleet.on_host import envelope
from strixfleet.on_host.switch import records
from strixfleet.on_host.switch.units import Units
from tests.fixtures.damage import damaged_texts
from tests.fixtures.switching import NEW, OLD, OLDER, Clock, Machine


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system: needs root")


@pytest.fixture
def on_trial(serving: Machine) -> Machine:
    """Let the new build be on trial, with a lease that is not over."""
    serving.call("activate", NEW, "--lease", "600")
    serving.calls()
    return serving


DAMAGES = {
    "empty": "",
    "truncated": '{"from": "b1-cpu-000',
    "null": "null",
    "a list": "[1, 2]",
    "no keys": "{}",
    "odd keys": '{"to": "b2-cpu-00000002"}',
    "deep": '{"to":' * 5000,
    "deep and whole": "[" * 900 + "]" * 900,
    "a huge number": '{"deadline_s": ' + "9" * 5000 + "}",
    "not text": "\xff\xfe\x00",
}


def damage(machine: Machine, name: str, text: str) -> None:
    (machine.state / name).write_bytes(text.encode("latin-1"))


def says_the_same(text: bytes, good: bytes) -> bool:
    """Tell whether a record lost its seal alone, as the version before wrote it."""
    with contextlib.suppress(ValueError, RecursionError):
        return bool(json.loads(text) == {key: row for key, row in json.loads(good).items() if key != "seal"})
    return False


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let neither the disk nor systemd take time."""
    monkeypatch.setattr(os, "fsync", lambda _file: None)
    monkeypatch.setattr(Units, "follow", lambda _units, **_how: None)


@pytest.mark.parametrize("text", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_record_of_a_trial_means_go_back(on_trial: Machine, text: str) -> None:
    damage(on_trial, "activation.json", text)
    for words in (["confirm", NEW], ["renew"], ["activate", NEW], ["activate", OLDER], ["discard", OLDER]):
        assert on_trial.call(*words)["ok"] is False, words
    assert on_trial.call("status")["pending"]["to"] == NEW
    assert on_trial.links() == (NEW, OLD)
    assert on_trial.call("return", "--if-due")["changed"] is True
    assert on_trial.links()[0] == OLD
    assert on_trial.calls() == ["restart llama-server@chat.service"]
    answer = on_trial.call("status")
    assert (answer["pending"], answer["refused"]) == (None, [])
    assert on_trial.call("return", "--if-due")["changed"] is False
    assert on_trial.links()[0] == OLD


@pytest.mark.parametrize("kind", ["a folder", "a pipe", "a link to nothing"])
def test_a_record_that_is_no_file_means_go_back(on_trial: Machine, kind: str) -> None:
    path = on_trial.state / "activation.json"
    path.unlink()
    if kind == "a folder":
        path.mkdir()
        (path / "x").touch()
    elif kind == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere")
    assert on_trial.call("confirm", NEW)["code"] == envelope.DAMAGED
    assert on_trial.call("return", "--if-due")["changed"] is True
    assert on_trial.links()[0] == OLD
    assert not os.path.lexists(path)


def test_a_damaged_record_of_the_first_deployment_ends_it(machine: Machine) -> None:
    machine.call("activate", NEW, "--lease", "600")
    damage(machine, "activation.json", "")
    assert machine.call("return", "--if-due")["changed"] is True
    assert machine.links() == (None, None)


def test_a_record_of_the_version_before_is_understood(on_trial: Machine) -> None:
    path = on_trial.state / "activation.json"
    row = json.loads(path.read_text())
    del row["seal"], row["begun_s"]
    path.write_text(json.dumps(row))
    assert on_trial.call("return", "--if-due")["changed"] is False
    assert on_trial.call("confirm", NEW)["error"] is None
    assert on_trial.links() == (NEW, OLD)


def test_none_of_300_damaged_records_confirms_a_trial_or_breaks_a_verb(
    on_trial: Machine, quick: None
) -> None:
    """Whatever is wrong with a record, the trial is not confirmed, and the timer ends it."""
    path = on_trial.state / "activation.json"
    good = path.read_bytes()
    for text in damaged_texts(good, 300):
        if says_the_same(text, good):
            continue
        path.write_bytes(text)
        assert on_trial.call("confirm", NEW)["ok"] is False, text
        path.write_bytes(text)
        assert on_trial.call("return", "--if-due")["changed"] is True, text
        assert on_trial.links()[0] == OLD, text
        path.write_bytes(good)
        for name, build in (("current", NEW), ("previous", OLD)):
            (on_trial.builds / name).unlink()
            (on_trial.builds / name).symlink_to(build)


@pytest.mark.parametrize("name", ["lock.json", "refused.json"])
def test_none_of_300_damaged_records_lets_anybody_in(serving: Machine, quick: None, name: str) -> None:
    """A damaged lock is somebody's, and a damaged list of bad refs may have named any of them."""
    serving.call("activate", NEW, "--lease", "60")
    serving.call("return")
    serving.call("lock", "--owner", "ann", "--ttl", "600")
    (serving.state / ("refused.json" if name == "lock.json" else "lock.json")).unlink()
    path = serving.state / name
    good = path.read_bytes()
    for text in damaged_texts(good, 300):
        if says_the_same(text, good):
            continue
        path.write_bytes(text)
        assert serving.call("status")["ok"] is True
        assert serving.call("activate", NEW, "--lease", "60")["ok"] is False, text
        if name == "lock.json":
            assert serving.call("lock", "--owner", "bob")["code"] == envelope.LOCKED, text
            assert serving.call("unlock", "--token", "1")["ok"] is False, text
        assert path.read_bytes() == text


def test_a_damaged_lock_is_freed_by_force_alone_and_old_tokens_stay_old(serving: Machine) -> None:
    serving.call("lock", "--owner", "ann")
    damage(serving, "lock.json", "")
    answer = serving.call("status")
    assert "damaged" in answer["lock"]["owner"]
    for key in ("since", "length_s", "left_s"):
        assert key in answer["lock"]
    assert serving.call("unlock", "--force")["lock"] is None
    assert serving.call("lock", "--owner", "bob")["token"] > 1


def test_a_damaged_lock_keeps_no_trial_from_its_end(serving: Machine) -> None:
    token = str(serving.call("lock", "--owner", "ann")["token"])
    serving.call("activate", NEW, "--lease", "60", "--token", token)
    damage(serving, "lock.json", "{")
    assert serving.call("confirm", NEW, "--token", token)["code"] == envelope.LOCKED
    assert serving.call("return", "--token", token)["changed"] is True
    assert serving.links() == (OLD, OLDER)


def test_a_damaged_list_of_bad_refs_is_said_with_its_cure(serving: Machine) -> None:
    damage(serving, "refused.json", "")
    answer = serving.call("activate", NEW, "--lease", "60")
    assert answer["code"] == envelope.DAMAGED
    assert f"{serving.state}/refused.json is damaged" in answer["error"]
    assert "--retry" in answer["error"]
    assert serving.call("activate", NEW, "--lease", "60", "--retry")["error"] is None
    assert [row["ref"] for row in serving.call("return")["refused"]] == ["b2"]


@pytest.mark.parametrize("text", ["", "null", "[" * 5000, '{"id": 1, "files": {"bin/llama-server": 5}}'])
def test_a_build_with_a_damaged_manifest_is_refused(serving: Machine, text: str) -> None:
    (serving.builds / NEW / "manifest.json").write_text(text)
    assert serving.call("activate", NEW, "--lease", "60")["code"] == envelope.BAD_BUILD
    assert serving.links() == (OLD, OLDER)


@pytest.mark.parametrize("name", ["current", "previous"])
def test_a_folder_in_place_of_a_link_is_said_by_every_verb(serving: Machine, name: str) -> None:
    shutil.copytree(serving.builds / NEW, serving.builds / "kept")
    (serving.builds / name).unlink()
    (serving.builds / "kept").rename(serving.builds / name)
    for words in (["status"], ["activate", NEW], ["confirm", NEW], ["rollback"], ["spell"], ["return"]):
        answer = serving.call(*words)
        assert answer["error"] == (
            f"{serving.builds}/{name} is not a link to a build; "
            "hint: move it away, then `strixfleet provision`"
        )
    assert (serving.builds / name / "manifest.json").exists()


def test_a_folder_in_place_of_the_link_does_not_keep_a_trial_from_its_end(on_trial: Machine) -> None:
    (on_trial.builds / "current").unlink()
    (on_trial.builds / "current").mkdir()
    assert on_trial.call("confirm", NEW)["ok"] is False
    assert on_trial.call("return")["changed"] is True
    assert on_trial.links() == (OLD, OLDER)


def test_a_return_is_tried_again_until_the_servers_restarted(on_trial: Machine) -> None:
    (on_trial.root / "broken").touch()
    answer = on_trial.call("return", "--reason", "gate")
    assert answer["code"] == envelope.NOT_RESTARTED
    assert answer["pending"]["left_s"] == 0  # the timer goes on with it, whatever the lease was
    assert on_trial.links() == (OLD, OLDER)
    assert on_trial.call("return", "--if-due")["ok"] is False
    (on_trial.root / "broken").unlink()
    on_trial.calls()
    answer = on_trial.call("return", "--if-due")
    assert (answer["changed"], answer["pending"]) == (True, None)
    assert on_trial.calls() == ["restart llama-server@chat.service"]
    assert [row["ref"] for row in answer["refused"]] == ["b2"]
    assert on_trial.call("return", "--if-due")["changed"] is False


def test_a_return_at_boot_does_not_wait_for_servers_that_wait_for_it(
    on_trial: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert on_trial.call("return", "--if-due", "--at-boot")["changed"] is False
    monkeypatch.setattr(records, "boot_id", lambda: "another")
    assert on_trial.call("return", "--if-due", "--at-boot")["changed"] is True
    assert on_trial.calls() == ["restart --no-block llama-server@chat.service"]
    assert on_trial.links() == (OLD, OLDER)


def test_a_lease_longer_than_was_asked_for_is_over(on_trial: Machine) -> None:
    path = on_trial.state / "activation.json"
    row = json.loads(path.read_text())
    row = {key: value for key, value in row.items() if key not in {"seal", "begun_s"}}
    path.write_text(json.dumps({**row, "deadline_s": 1e12}))
    assert on_trial.call("confirm", NEW)["code"] == envelope.LEASE_OVER
    assert on_trial.call("return", "--if-due")["changed"] is True


def test_the_second_of_two_returns_does_not_forget_a_trial_that_began_between(
    on_trial: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one return waits for systemd, another ends, and the next trial begins."""
    real = Units.follow

    def slow(units: Units, *, serving: bool, block: bool) -> None:
        monkeypatch.setattr(Units, "follow", real)
        on_trial.call("return")
        on_trial.call("activate", OLDER, "--lease", "600")
        real(units, serving=serving, block=block)

    monkeypatch.setattr(Units, "follow", slow)
    assert on_trial.call("return")["pending"]["to"] == OLDER


def test_a_trial_whose_lease_is_over_is_not_taken_up_again(on_trial: Machine, clock: Clock) -> None:
    clock(601)
    assert on_trial.call("activate", NEW, "--lease", "600")["code"] == envelope.LEASE_OVER
    assert on_trial.call("return", "--if-due")["changed"] is True


@pytest.fixture
def small(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[], Machine]]:
    """Keep a machine's builds and state on a small file system of its own."""
    root = tmp_path / "root"
    root.mkdir()
    options = getattr(request, "param", "size=512k,nr_inodes=100")
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", root], check=True)

    def make() -> Machine:
        machine = Machine(root)
        for build in (OLDER, OLD):
            machine.call("activate", build)
        return machine

    yield make
    subprocess.run(["umount", "--lazy", root], check=True)


def use_up_inodes(machine: Machine) -> None:
    with contextlib.suppress(OSError):
        for number in range(1000):
            os.mknod(machine.root / f"used-{number}")


def use_up_blocks(machine: Machine) -> None:
    with contextlib.suppress(OSError), (machine.root / "used").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


USED_UP = {"inodes": use_up_inodes, "blocks": use_up_blocks}


@needs_root
@pytest.mark.parametrize("use_up", USED_UP.values(), ids=USED_UP)
def test_a_full_disk_stops_no_return(
    small: Callable[[], Machine], use_up: Callable[[Machine], None], clock: Clock
) -> None:
    machine = small()
    machine.call("activate", NEW, "--lease", "60")
    use_up(machine)
    clock(61)
    assert machine.call("return", "--if-due")["error"] is None
    assert machine.links() == (OLD, OLDER)
    assert machine.call("status")["pending"] is None


@needs_root
@pytest.mark.parametrize("use_up", USED_UP.values(), ids=USED_UP)
def test_a_full_disk_refuses_no_rollback(
    small: Callable[[], Machine], use_up: Callable[[Machine], None]
) -> None:
    machine = small()
    machine.call("unlock", "--token", str(machine.call("lock", "--owner", "ann")["token"]))
    machine.call("activate", NEW)
    use_up(machine)
    refused = machine.call("activate", OLDER, "--lease", "60")
    assert "No space left on device" in refused["error"]
    token = str(machine.call("lock", "--owner", "ann")["token"])
    assert machine.call("rollback", "--token", token)["error"] is None
    assert machine.links() == (OLD, NEW)
    assert machine.call("unlock", "--token", token)["error"] is None
