"""A unit is restarted if its process is not as desired, and only then."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.plugins.collection import collection


SHOWN = {
    "ActiveState": "active",
    "UnitFileState": "enabled",
    "MainPID": "42",
    "NeedDaemonReload": "no",
    "NRestarts": "0",
    "Result": "success",
}
PROGRAM = "/opt/strixfleet/llama.cpp/one/bin/llama-server"


class Host:
    """Stands in for systemd and for the server: `after` is what a restart makes of the unit."""

    def __init__(self, shown: dict[str, str], process: dict[str, str], started: float = 1e12) -> None:
        self.shown = shown
        self.process = process
        self.started = started
        self.after = {"config": "new", "exe": PROGRAM}
        self.after_shown = dict(SHOWN)
        self.calls: list[str] = []
        self.health = 200
        self.refusal = ""
        self.locked = ""

    def run(self, argv: list[str], timeout_s: float | None) -> SimpleNamespace:  # noqa: ARG002
        code, out = self.answer(argv)
        return SimpleNamespace(code=code, out=out, err="")

    def answer(self, argv: list[str]) -> tuple[int, str]:
        if argv[0] == "journalctl":
            return 0, "the reason stands here\n"
        if argv[0].endswith("strixfleet-host"):
            self.calls.append(argv[1])
            return bool(self.locked), json.dumps({"error": self.locked or None})
        if argv[1] == "show":
            return 0, "".join(f"{key}={value}\n" for key, value in self.shown.items())
        self.calls.append(argv[1])
        if argv[1] == "restart":
            self.shown, self.process, self.started = self.after_shown, self.after, 1e12
        return 0, ""


Ensure = Callable[..., dict[str, Any]]


@pytest.fixture
def module() -> ModuleType:
    return collection("modules.llama_instance")


@pytest.fixture
def ensure(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Ensure:
    def run(
        host: Host, *, check_mode: bool = False, models: list[str] | None = None, renamed: bool = False
    ) -> dict[str, Any]:
        class Server:
            def __init__(self, *_arguments: str) -> None: ...
            def health(self) -> int:
                return host.health

            def running_requests(self) -> int:
                host.calls.append("drain")
                return 0

        def refusal(*_arguments: object) -> str:
            host.calls.append("token")
            return host.refusal

        monkeypatch.setattr(module, "Server", Server)
        monkeypatch.setattr(module, "refusal", refusal)
        monkeypatch.setattr(module.command, "run", host.run)
        monkeypatch.setattr(module.process, "running", lambda _pid: host.process)
        monkeypatch.setattr(module.process, "started_at", lambda _pid: host.started)
        params = {
            "name": "chat",
            "config": "new",
            "url": "http://127.0.0.1:8080",
            "key_file": "",
            "models": models or [],
            "probe": "completion",
            "renamed": renamed,
            "program": PROGRAM,
            "drain_s": 1,
            "load_s": 1,
        }
        stub = SimpleNamespace(params=params, check_mode=check_mode)
        return dict(module.Instance(stub).present())

    return run


def good() -> dict[str, str]:
    return {"config": "new", "exe": PROGRAM}


def test_what_runs_as_wanted_is_left_alone(ensure: Ensure) -> None:
    host = Host(SHOWN, good())

    assert ensure(host) == {"changed": False, "reasons": []}
    assert host.calls == []


@pytest.mark.parametrize(
    ("shown", "process", "reason"),
    [
        ({}, {"config": "old", "exe": PROGRAM}, "it runs with another configuration"),
        ({}, {"config": "new", "exe": f"{PROGRAM} (deleted)"}, "it runs another build"),
        ({"ActiveState": "failed"}, {}, "the unit is failed"),
        ({"ActiveState": "activating"}, {}, "the unit is activating"),
        ({"ActiveState": ""}, {}, "the unit is unknown"),
    ],
)
def test_what_runs_otherwise_is_started_anew(
    ensure: Ensure, shown: dict[str, str], process: dict[str, str], reason: str
) -> None:
    host = Host(SHOWN | shown, process)
    result = ensure(host)

    assert result["changed"]
    assert result["reasons"] == [reason]
    assert host.calls == ["daemon-reload", "drain", "reset-failed", "restart", "token"]
    assert result["diff"]["after"]["config"] == "new"


def test_what_releases_spell_differently_is_settled_before_a_restart_and_only_then(
    ensure: Ensure, module: ModuleType
) -> None:
    host = Host(SHOWN, {"config": "old", "exe": PROGRAM})
    ensure(host, renamed=True)
    assert host.calls == ["daemon-reload", "spell", "drain", "reset-failed", "restart", "token"]

    left = Host(SHOWN, good())
    ensure(left, renamed=True)
    assert left.calls == []

    refused = Host(SHOWN, {"config": "old", "exe": PROGRAM})
    refused.locked = "locked by ann"
    with pytest.raises(module.InstanceError, match="strixfleet-host spell: locked by ann"):
        ensure(refused, renamed=True)
    assert "restart" not in refused.calls


def test_check_mode_says_the_same_and_touches_nothing(ensure: Ensure) -> None:
    host = Host(SHOWN, {"config": "old", "exe": PROGRAM})
    result = ensure(host, check_mode=True)

    assert (result["changed"], result["reasons"]) == (True, ["it runs with another configuration"])
    assert host.calls == []


def test_a_disabled_unit_is_enabled_without_a_restart(ensure: Ensure) -> None:
    host = Host(SHOWN | {"UnitFileState": "disabled"}, good())

    assert ensure(host)["changed"]
    assert host.calls == ["daemon-reload", "enable"]


def test_a_model_that_was_replaced_under_the_server_is_read_again(ensure: Ensure, tmp_path: Path) -> None:
    model = tmp_path / "m.gguf"
    model.write_text("GGUF")
    changed = model.stat().st_ctime

    before = Host(SHOWN, good(), started=changed - 10)
    after = Host(SHOWN, good(), started=changed + 10)

    assert ensure(before, models=[str(model)])["reasons"] == [f"{model} was replaced after it started"]
    assert ensure(after, models=[str(model)])["reasons"] == []


def test_a_server_that_dies_again_and_again_is_told_with_its_log(ensure: Ensure, module: ModuleType) -> None:
    host = Host(SHOWN | {"ActiveState": "inactive"}, {})
    host.health = 0
    host.after_shown = SHOWN | {"ActiveState": "activating", "NRestarts": "2", "Result": "exit-code"}

    with pytest.raises(module.InstanceError, match=r"does not stay up \(exit-code\)\n.*\nthe reason stands"):
        ensure(host)


def test_health_alone_is_not_enough(ensure: Ensure, module: ModuleType) -> None:
    """R15: a server whose GPU hangs still says 200."""
    host = Host(SHOWN | {"ActiveState": "inactive"}, {})
    host.refusal = "POST /completion answers 0: timed out"

    with pytest.raises(module.InstanceError, match="POST /completion answers 0: timed out"):
        ensure(host)


def test_a_restart_that_brings_the_old_program_is_no_success(ensure: Ensure, module: ModuleType) -> None:
    host = Host(SHOWN, {"config": "old", "exe": PROGRAM})
    host.after = {"config": "old", "exe": PROGRAM}

    with pytest.raises(module.InstanceError, match="and yet: it runs with another configuration"):
        ensure(host)


def test_a_unit_whose_files_changed_under_the_server_is_started_again(ensure: Ensure, tmp_path: Path) -> None:
    """They may say again what they should: the process runs what they said before."""
    drop_in = tmp_path / "x.conf"
    drop_in.write_text("")
    shown = {**SHOWN, "DropInPaths": str(drop_in)}
    before = Host(shown, good(), started=drop_in.stat().st_ctime - 10)
    after = Host(shown, good(), started=tmp_path.stat().st_ctime + 10)

    assert f"{drop_in} was replaced after it started" in ensure(before)["reasons"]
    assert ensure(after)["reasons"] == []


def test_a_masked_unit_is_unmasked_before_it_is_enabled(ensure: Ensure) -> None:
    host = Host({**SHOWN, "UnitFileState": "masked"}, good())

    assert ensure(host)["changed"]
    assert host.calls == ["unmask", "unmask", "daemon-reload", "enable"]


def test_a_file_from_the_future_does_not_restart_a_server_for_ever(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock was wrong when the file came: its age says nothing."""
    model = tmp_path / "m.gguf"
    model.write_text("GGUF")

    assert module.process.changed_after(str(model), 1.0)
    assert not module.process.changed_after(str(model), 0.0)
    assert not module.process.changed_after(str(tmp_path / "none"), 1.0)
    monkeypatch.setattr("time.time", lambda: 100.0)
    assert not module.process.changed_after(str(model), 1.0)


def test_the_start_of_a_process_is_told_by_the_clock_of_now(module: ModuleType) -> None:
    import time

    assert 0 < time.time() - module.process.started_at(os.getpid()) < time.monotonic()
    assert module.process.started_at(0) == 0.0
