"""The host program: switching, trials, the lock, and being cut at every write."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strixfleet.on_host import envelope
from strixfleet.on_host.switch import records
from strixfleet.on_host.switch.units import Units
from tests.fixtures.switching import NEW, OLD, OLDER, Clock, Machine


def test_activation_without_a_lease_is_final(machine: Machine) -> None:
    answer = machine.call("activate", OLD, "--expect", "none")
    assert (answer["changed"], answer["current"], answer["pending"]) == (True, OLD, None)
    assert machine.calls() == ["restart llama-server@chat.service"]
    assert machine.call("activate", OLD)["changed"] is False
    assert machine.calls() == []
    assert "current is" in machine.call("activate", NEW, "--expect", "none")["error"]
    assert not (machine.state / "activation.json").exists()


def test_a_confirmed_trial_stays(serving: Machine, clock: Clock) -> None:
    answer = serving.call("activate", NEW, "--lease", "60")
    assert answer["pending"]["to"] == NEW
    assert answer["pending"]["left_s"] > 50
    clock(50)
    assert serving.call("renew")["changed"] is True
    clock(50)
    assert serving.call("return", "--if-due")["changed"] is False
    assert serving.call("confirm", NEW)["error"] is None
    clock(1000)
    assert serving.call("return", "--if-due")["changed"] is False
    assert serving.links() == (NEW, OLD)
    assert serving.call("confirm", NEW)["error"] is None


def test_an_unconfirmed_trial_goes_back_and_is_remembered(serving: Machine, clock: Clock) -> None:
    serving.call("activate", NEW, "--lease", "60")
    serving.calls()
    clock(61)
    assert "is over" in serving.call("confirm", NEW)["error"]
    assert "is over" in serving.call("renew")["error"]
    answer = serving.call("return", "--if-due")
    assert answer["changed"] is True
    assert serving.links() == (OLD, OLDER)
    assert serving.calls() == ["restart llama-server@chat.service"]
    assert [row["ref"] for row in answer["refused"]] == ["b2"]
    assert "was taken back here" in serving.call("activate", NEW, "--lease", "60")["error"]
    assert serving.links() == (OLD, OLDER)
    assert serving.call("activate", NEW, "--lease", "60", "--retry")["error"] is None
    assert serving.call("confirm", NEW)["refused"] == []


def test_the_first_deployment_goes_back_to_not_serving(machine: Machine, clock: Clock) -> None:
    machine.call("activate", NEW, "--lease", "60")
    machine.calls()
    clock(61)
    machine.call("return", "--if-due")
    assert machine.links() == (None, None)
    assert machine.calls() == ["stop llama-server@chat.service"]


def test_a_trial_for_the_sake_of_a_search_is_forgotten(serving: Machine) -> None:
    serving.call("activate", NEW, "--lease", "60")
    assert serving.call("return", "--forget")["refused"] == []
    assert serving.links() == (OLD, OLDER)


def test_a_reboot_ends_a_trial_at_once(serving: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    serving.call("activate", NEW, "--lease", "60")
    monkeypatch.setattr(records, "boot_id", lambda: "another")
    assert serving.call("return", "--if-due")["changed"] is True
    assert serving.links() == (OLD, OLDER)


def test_rollback_and_back_again(serving: Machine) -> None:
    serving.call("activate", NEW)
    answer = serving.call("rollback")
    assert (answer["current"], answer["previous"]) == (OLD, NEW)
    assert "was taken back" in serving.call("rollback")["error"]
    assert serving.call("rollback", "--retry")["current"] == NEW
    assert "no previous" in Machine(serving.root / "bare").call("rollback")["error"]


def test_no_rollback_leads_over_a_change_of_backend(serving: Machine) -> None:
    for build, backend in ((OLD, "rocm"), (OLDER, "vulkan")):
        path = serving.builds / build / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"backend": backend}))
    before = serving.links()
    assert "is for vulkan, the current one for rocm" in serving.call("rollback")["error"]
    assert serving.links() == before == (OLD, OLDER)


def test_a_damaged_build_is_refused(serving: Machine) -> None:
    (serving.builds / NEW / "bin" / "llama-server").write_text("altered")
    assert "is not what was built" in serving.call("activate", NEW)["error"]
    assert "absent" in serving.call("activate", "b9-cpu-00000009")["error"]
    assert "is not a build id" in serving.call("activate", "../../etc")["error"]
    assert serving.links() == (OLD, OLDER)


def test_a_unit_that_does_not_restart_is_said_and_the_trial_goes_on(serving: Machine) -> None:
    (serving.root / "broken").touch()
    answer = serving.call("activate", NEW, "--lease", "60")
    assert "systemctl restart" in answer["error"]
    assert answer["pending"]["to"] == NEW
    (serving.root / "broken").unlink()
    assert serving.call("return")["error"] is None
    assert serving.links() == (OLD, OLDER)


def test_the_lock_fences_off_whoever_lost_it(serving: Machine, clock: Clock) -> None:
    first = str(serving.call("lock", "--owner", "ann", "--ttl", "45")["token"])
    assert "locked by ann" in serving.call("lock", "--owner", "bob")["error"]
    assert serving.call("activate", NEW, "--lease", "60")["code"] == envelope.LOCKED
    assert serving.call("activate", NEW, "--lease", "60", "--token", first)["error"] is None
    clock(40)
    assert serving.call("renew", "--token", first)["error"] is None
    clock(46)
    second = str(serving.call("lock", "--owner", "bob")["token"])
    assert int(second) > int(first)
    for words in (["confirm", NEW], ["return"], ["rollback"], ["renew"], ["activate", OLDER], ["unlock"]):
        refused = serving.call(*words, "--token", first)
        assert "took over" in refused["error"]
        assert refused["code"] == envelope.FENCED
    assert serving.links() == (NEW, OLD)
    assert serving.call("return", "--token", second)["error"] is None
    assert serving.call("unlock", "--token", second)["lock"] is None
    assert serving.call("lock", "--owner", "ann")["token"] == int(second) + 1


def test_an_expired_lock_lets_its_holder_undo_and_nothing_else(serving: Machine, clock: Clock) -> None:
    token = str(serving.call("lock", "--owner", "ann")["token"])
    serving.call("activate", NEW, "--lease", "60", "--token", token)
    clock(46)
    refused = serving.call("confirm", NEW, "--token", token)
    assert "has expired" in refused["error"]
    assert refused["code"] == envelope.LOCK_EXPIRED
    assert serving.call("return", "--token", token)["changed"] is True
    assert serving.call("unlock", "--force")["error"] is None


def test_a_dead_holder_is_named_to_be_freed(serving: Machine) -> None:
    serving.call("lock", "--owner", "ann")
    assert "locked by ann" in serving.call("unlock", "--owner", "bob")["error"]
    assert serving.call("unlock", "--owner", "ann")["lock"] is None
    assert serving.call("lock", "--owner", "bob")["token"] == 2


def test_a_staged_build_is_discarded_and_one_in_use_is_not(serving: Machine) -> None:
    assert serving.call("discard", NEW)["builds"] == [OLDER, OLD]
    assert serving.call("discard", NEW)["changed"] is False
    for build in (OLD, OLDER):
        assert "is in use" in serving.call("discard", build)["error"]


HELP = Path(__file__).with_name("help")


@pytest.fixture
def telling(serving: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Let the builds say what their options are: the new one in the new spelling."""
    for build, text in ((OLDER, "old"), (OLD, "old"), (NEW, "new")):
        server = serving.builds / build / "bin" / "llama-server"
        server.write_text(f"#!/bin/sh\ncat {HELP / text}.txt\n")
        server.chmod(0o755)
        manifest = serving.builds / build / "manifest.json"
        data = json.loads(manifest.read_text())
        data["files"]["bin/llama-server"] = hashlib.sha256(server.read_bytes()).hexdigest()
        manifest.write_text(json.dumps(data))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)  # nobody may not look into a test's folder
    return serving


def spelling(machine: Machine, build: str) -> str | None:
    path = machine.builds / build / "options"
    return path.read_text() if path.exists() else None


def test_a_staged_build_is_spelled_for_and_the_spelling_goes_with_the_link(telling: Machine) -> None:
    answer = telling.call("spell", NEW)
    assert (answer["changed"], answer["current"]) == (True, OLD)
    assert telling.call("spell", NEW)["changed"] is False
    text = spelling(telling, NEW) or ""
    assert "STRIXFLEET_OPTION_NO_MMAP=--load-mode none\n" in text
    assert (telling.builds / NEW / "options").stat().st_mode & 0o777 == 0o644
    assert telling.calls() == []
    through = telling.builds / "current" / "options"
    telling.call("activate", NEW, "--lease", "60")
    assert through.read_text() == text
    telling.call("return")
    assert not through.exists()
    assert telling.call("activate", NEW, "--retry")["error"] is None
    assert telling.call("rollback")["current"] == OLD
    assert telling.call("discard", OLDER)["error"] is None


def test_without_a_name_both_that_serve_are_spelled_for(telling: Machine) -> None:
    assert telling.call("spell")["changed"] is True
    assert "STRIXFLEET_OPTION_LOAD_MODE_NONE=--no-mmap\n" in (spelling(telling, OLD) or "")
    assert spelling(telling, OLDER) == spelling(telling, OLD)
    assert spelling(telling, NEW) is None
    (telling.builds / OLDER / "bin" / "llama-server").unlink()
    assert telling.call("spell")["error"] is None
    (telling.builds / OLD / "bin" / "llama-server").unlink()
    assert "does not say" in telling.call("spell")["error"]  # nothing is restarted on a guess


def test_a_stale_or_altered_spelling_is_written_anew(telling: Machine) -> None:
    (telling.builds / NEW / "options").write_text("LD_PRELOAD=x\n")
    assert telling.call("spell", NEW)["changed"] is True
    assert "LD_PRELOAD" not in (spelling(telling, NEW) or "")


def test_a_spelling_is_refused_to_whoever_may_not_write(telling: Machine, clock: Clock) -> None:
    assert "is absent" in telling.call("spell", "../../etc")["error"]
    (telling.builds / NEW / "bin" / "llama-server").write_text("#!/bin/sh\n")
    assert "does not say" in telling.call("spell", NEW)["error"]
    telling.call("activate", OLDER, "--lease", "60")
    clock(61)
    assert "the lease of" in telling.call("spell", OLDER)["error"]
    assert "the lease of" in telling.call("spell")["error"]
    first = str(telling.call("lock", "--owner", "ann")["token"])
    assert "locked by ann" in telling.call("spell", OLD)["error"]
    clock(46)
    telling.call("lock", "--owner", "bob")
    assert "took over" in telling.call("spell", OLD, "--token", first)["error"]
    assert [spelling(telling, build) for build in (OLDER, OLD, NEW)] == [None, None, None]


def test_cut_anywhere_a_spelling_is_there_whole_or_not_at_all(telling: Machine) -> None:
    telling.call("spell", NEW)
    whole = spelling(telling, NEW)
    path = telling.builds / NEW / "options"
    deaths = 0
    for at in range(100):
        path.unlink()
        died = cut(telling, at, ["spell", NEW])
        assert spelling(telling, NEW) in ({None, whole} if died else {whole})
        assert telling.call("spell", NEW)["error"] is None
        assert spelling(telling, NEW) == whole
        assert sorted(path.name for path in (telling.builds / NEW).iterdir()) == [
            "bin",
            "manifest.json",
            "options",
        ]
        if not died:
            break
        deaths += 1
    assert deaths > 2


DEEDS = ("rename", "unlink", "symlink", "fsync", "open")


def cut(machine: Machine, at: int, words: list[str]) -> bool:
    """Run the program in a child that dies before its at-th deed; tell whether it died."""
    child = os.fork()
    if child == 0:
        done = [0]

        def deadly(real: Callable[..., object]) -> Callable[..., object]:
            def deed(*given: object, **named: object) -> object:
                if done[0] == at:
                    os._exit(99)
                done[0] += 1
                return real(*given, **named)

            return deed

        for name in DEEDS:
            setattr(os, name, deadly(getattr(os, name)))
        Units.follow = deadly(Units.follow)  # type: ignore[assignment,method-assign]
        try:
            machine.call(*words)
        finally:
            os._exit(0)
    _, result = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(result) == 99


@pytest.mark.parametrize("verb", ["activate", "activate-final", "return", "confirm", "rollback", "lock"])
def test_cut_anywhere_the_host_serves_old_or_new_and_the_next_call_ends_the_same(
    tmp_path: Path, verb: str
) -> None:
    words = {
        "activate": ["activate", NEW, "--lease", "60"],
        "activate-final": ["activate", NEW],
        "return": ["return", "--reason", "gate"],
        "confirm": ["confirm", NEW],
        "rollback": ["rollback"],
        "lock": ["lock", "--owner", "ann"],
    }[verb]
    after = (NEW, OLD)
    deaths = 0
    for at in range(100):
        machine = Machine(tmp_path / str(at))
        for build in (OLDER, OLD):
            machine.call("activate", build)
        if verb in {"return", "confirm"}:
            machine.call("activate", NEW, "--lease", "60")
        if not cut(machine, at, words):
            break
        deaths += 1
        assert machine.links()[0] in {OLD, NEW, OLDER}
        for name in ("activation.json", "refused.json", "lock.json"):
            if (machine.state / name).exists():
                json.loads((machine.state / name).read_text())
        again = machine.call(*words) if verb != "rollback" else machine.call("status")
        if verb == "lock":
            assert again["error"] is None or "locked by ann" in again["error"]
        elif verb in {"activate", "activate-final", "confirm"}:
            assert again["error"] is None
            assert machine.links() == after
            assert bool(again["pending"]) == (verb == "activate")
        elif verb == "return":
            assert machine.links() == (OLD, OLDER)
            assert [row["ref"] for row in again["refused"]] == ["b2"]
            assert again["pending"] is None
        else:
            begun = again["pending"] is not None or machine.links() != (OLD, OLDER)
            machine.call("return")
            assert machine.links() == ((OLDER, OLD) if begun else (OLD, OLDER))
    assert deaths > 3


def test_cut_and_left_alone_the_timer_brings_the_old_build_back(tmp_path: Path, clock: Clock) -> None:
    for at in range(100):
        machine = Machine(tmp_path / str(at))
        for build in (OLDER, OLD):
            machine.call("activate", build)
        if not cut(machine, at, ["activate", NEW, "--lease", "60"]):
            break
        clock(61)
        machine.call("return", "--if-due")
        assert machine.links() == (OLD, OLDER)
        assert machine.call("status")["pending"] is None
    else:
        raise AssertionError("it was always cut")


def test_a_full_disk_keeps_no_bad_build_in_service(serving: Machine) -> None:
    """No file can grow, as on a full disk; links can be made."""
    serving.call("activate", NEW, "--lease", "60")
    argv = ["--root", str(serving.root), "--systemctl", "true"]

    def full(*words: str) -> dict[str, Any]:
        program = [sys.executable, "-m", "strixfleet.on_host.switch.strixfleet_host", *argv, *words]
        limited = ["prlimit", "--fsize=0", *program]
        done = subprocess.run(limited, capture_output=True, text=True, check=False, timeout=30)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    refused = full("renew")
    assert refused["error"] == f"{serving.state}/activation.json: File too large"
    assert refused["code"] == envelope.FAILED
    assert full("return", "--reason", "bad")["error"] is None
    assert serving.links() == (OLD, OLDER)
    assert serving.call("status")["refused"] == []
