"""The one way to apply what is alike for every aspect: order, failures, check mode."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.plugins.collection import collection
from tests.plugins.test_in_ansible import ME, ansible, interpreter


__all__ = ["interpreter"]

apply = collection("action.apply")
FILE = {"path": "/f", "content": "x", "mode": "0644", "owner": "root", "group": "root"}
DEEDS: dict[str, list[dict[str, Any]]] = {
    "value": [{"path": "/proc/sys/vm/swappiness", "value": "10"}],
    "unit": [{"name": "wanted.service"}],
    "stopped_unit": [
        {"name": "rival.service", "masked": True},
        {"name": "own.service", "masked": False},
    ],
    "release": [{"name": "r"}],
    "hold": [{"name": "h"}],
    "package": [{"name": "p", "floor": None, "known_bad": [], "release": None, "newest": False}],
    "absent": [{"path": "/gone"}],
    "link": [{"path": "/l", "target": "/t"}],
    "secret_file": [FILE | {"path": "/s"}],
    "file": [FILE],
    "folder": [{"path": "/d", "mode": "0755", "owner": "root", "group": "root"}],
    "account": [{"name": "me", "home": "/h", "shell": "/bin/sh", "groups": ["render"], "comment": "c"}],
    "server": [{"name": "of one role alone"}],
}
ORDER = [
    "group",
    "group",
    "user",
    "paths",
    "apt_packages",
    "apt_hold",
    "systemd_service",
    "systemd_service",
    "systemd_service",
    "systemd_service",
    "paths",
]
Calls = list[tuple[str, dict[str, Any]]]


def applied(
    monkeypatch: pytest.MonkeyPatch, deeds: object, *, check: bool = False, **answers: dict[str, Any]
) -> tuple[dict[str, Any], Calls]:
    """Apply deeds with modules that answer `answers[name]`, else that nothing changed; return all calls."""
    calls: Calls = []

    def execute(module_name: str, module_args: dict[str, Any], **_more: object) -> dict[str, Any]:
        name = module_name.rpartition(".")[2]
        calls.append((name, module_args))
        return {"invocation": {"module_args": module_args}, "changed": False, **answers.get(name, {})}

    action = object.__new__(apply.ActionModule)
    action._task = SimpleNamespace(args={"deeds": deeds, "hint": "do so"}, check_mode=check)
    monkeypatch.setattr(action, "_execute_module", execute)
    monkeypatch.setattr(apply.ActionBase, "run", lambda *_arguments: {})
    return action.run(task_vars={}), calls


def names(calls: Calls) -> list[str]:
    return [name for name, _arguments in calls]


def test_everything_is_done_in_one_order(monkeypatch: pytest.MonkeyPatch) -> None:
    answer, calls = applied(monkeypatch, DEEDS)
    assert names(calls) == ORDER
    assert (answer["changed"], answer["changed_names"], answer["diff"]) == (False, [], [])


def test_all_paths_but_the_kernel_s_go_in_one_call() -> None:
    ((name, rows),) = apply.path_calls(DEEDS)
    assert name == "strixfleet.fleet.paths"
    assert rows == {
        "folders": DEEDS["folder"],
        "files": DEEDS["file"],
        "secret_files": DEEDS["secret_file"],
        "links": DEEDS["link"],
        "absent": ["/gone"],
    }


def test_groups_are_made_before_the_account_and_its_others_are_kept() -> None:
    *groups, (_module, user) = apply.account_calls(DEEDS)
    assert [arguments["name"] for _name, arguments in groups] == ["me", "render"]
    assert (user["append"], user["groups"], user["create_home"]) == (True, ["render"], False)


def test_a_rival_is_stopped_and_masked_where_it_can_be() -> None:
    units = [arguments for _name, arguments in apply.unit_calls(DEEDS, reload=False)]
    assert [(one["name"], one.get("state"), one.get("masked")) for one in units] == [
        ("rival.service", "stopped", None),
        ("rival.service", None, True),
        ("own.service", "stopped", None),
        ("wanted.service", "started", False),
    ]


def test_packages_come_with_the_hint_and_holds_after_them() -> None:
    install, hold = apply.package_calls(DEEDS, "do so")
    assert install[1]["hint"] == "do so"
    assert hold[1] == {"held": ["h"], "released": ["r"]}


@pytest.mark.parametrize("builder", ["account_calls", "path_calls"])
def test_nothing_to_do_is_no_call(builder: str) -> None:
    assert list(getattr(apply, builder)({})) == []
    assert list(apply.package_calls({}, "")) == []
    assert list(apply.value_calls({}, "")) == []


@pytest.mark.parametrize(("changed", "reload"), [(True, True), (False, False)])
def test_systemd_reads_units_anew_where_files_changed(
    monkeypatch: pytest.MonkeyPatch, changed: bool, reload: bool
) -> None:
    paths = {"changed": changed, "changed_paths": ["/f"] if changed else []}
    _answer, calls = applied(monkeypatch, DEEDS, paths=paths)
    started = [one for name, one in calls if name == "systemd_service" and one.get("state") == "started"]
    assert [one["daemon_reload"] for one in started] == [reload]


@pytest.mark.parametrize("failing", ["group", "user", "paths", "apt_packages", "apt_hold", "systemd_service"])
@pytest.mark.parametrize("how", ["failed", "unreachable"])
def test_the_first_failure_ends_it_and_says_what_had_changed(
    monkeypatch: pytest.MonkeyPatch, failing: str, how: str
) -> None:
    answers: dict[str, Any] = {"group": {"changed": True}, failing: {how: True, "msg": "why"}}
    answer, calls = applied(monkeypatch, DEEDS, **answers)
    assert names(calls) == ORDER[: ORDER.index(failing) + 1]
    assert (answer[how], answer["msg"], answer["changed"]) == (True, "why", failing != "group")
    assert answer["changed_names"] == ([] if failing == "group" else ["me", "render"])


def test_what_changed_is_named_and_the_differences_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {"changed": True, "changed_paths": ["/f", "/gone"], "diff": [{"before": "a", "after": "b"}]}
    held = {"changed": True, "diff": {"before": "", "after": "h"}}
    answer, _calls = applied(monkeypatch, {**DEEDS, "value": []}, paths=paths, apt_hold=held)
    assert answer["changed_names"] == ["/f", "/gone", "apt_hold"]
    assert answer["diff"] == [{"before": "a", "after": "b"}, {"before": "", "after": "h"}]
    assert "invocation" not in answer


def test_a_problem_refuses_before_anything_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    problems = [{"text": "no systemd; hint: a"}, {"text": "no GRUB"}]
    with pytest.raises(apply.AnsibleActionFail, match="no systemd; hint: a; no GRUB"):
        applied(monkeypatch, DEEDS | {"problem": problems}, group={"failed": True, "msg": "was called"})


@pytest.mark.parametrize(("changed", "looked_at"), [(True, False), (False, True)])
def test_check_mode_leaves_units_whose_files_are_still_to_come(
    monkeypatch: pytest.MonkeyPatch, changed: bool, looked_at: bool
) -> None:
    packages = {"changed": changed}
    answer, calls = applied(monkeypatch, DEEDS, check=True, apt_packages=packages)
    assert ("systemd_service" in names(calls)) is looked_at
    assert names(calls)[-1] == "paths"
    assert answer["changed"] is changed


def run(folder: Path, python: Path, deeds: object, *words: str) -> str:
    arguments = json.dumps({"deeds": deeds})
    return ansible(folder, python, "-m", "strixfleet.fleet.apply", "-a", arguments, *words)


def test_ansible_foretells_and_does_the_same(tmp_path: Path, interpreter: Path) -> None:
    path = tmp_path / "made" / "file"
    deeds: dict[str, object] = {
        "file": [{"path": str(path), "content": "one\n", "mode": "0600", **ME}],
        "unit": [{"name": "of-no-package-yet.service"}],
    }
    foretold = run(tmp_path, interpreter, deeds, "--check", "--diff")
    assert not path.parent.exists()
    assert "CHANGED" in foretold
    assert "+one" in foretold
    assert str(path) in run(tmp_path, interpreter, {"file": deeds["file"]})
    assert path.read_text() == "one\n"
    assert "SUCCESS" in run(tmp_path, interpreter, {"file": deeds["file"]})
