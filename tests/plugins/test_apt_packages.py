"""Packages are touched only where something is wrong with them; what apt cannot mend is said."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


RunModule = Callable[..., dict[str, Any]]
DPKG_QUERY = """#!/usr/bin/python3
import json, os, sys
folder = os.path.dirname(os.path.abspath(__file__))
state = json.load(open(folder + "/state.json"))
if any("Abbrev" in word for word in sys.argv):
    print("ii  bash")
    for name, abbreviation in state["cut"].items():
        print(abbreviation, name)
for name, version in state["installed"].items():
    if name in sys.argv:
        print(name, "installed", version)
"""
DPKG = """#!/usr/bin/python3
# `dpkg --configure -a` ends what was unpacked; what was cut in the middle of that it leaves.
import json, os, sys
if sys.argv[1] == "--compare-versions":
    os.execv("/usr/bin/dpkg", sys.argv)
folder = os.path.dirname(os.path.abspath(__file__))
state = json.load(open(folder + "/state.json"))
state["calls"].append(sys.argv[1:3])
state["cut"] = {name: one for name, one in state["cut"].items() if one[1] == "H" or "R" in one}
json.dump(state, open(folder + "/state.json", "w"))
if state["cut"]:
    sys.exit("dpkg: error processing package")
"""
APT_GET = """#!/usr/bin/python3
import json, os, sys
folder = os.path.dirname(os.path.abspath(__file__))
state = json.load(open(folder + "/state.json"))
words = [word for word in sys.argv[1:] if not word.startswith("-o")]
state["calls"].append(words)
if state.get("locked"):
    state["locked"] -= 1
    json.dump(state, open(folder + "/state.json", "w"))
    said = ["E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1 (apt-get)",
            "dpkg: error: dpkg frontend lock was locked by /usr/bin/apt-get process with pid 220"]
    sys.exit(said[state["locked"] % 2])
if words[:3] == ["--fix-broken", "--reinstall", "install"]:
    state["cut"] = {name: one for name, one in state["cut"].items() if name in state.get("gone", [])}
    words = ["fixed"]
if words[0] == "install" and state["cut"]:
    sys.exit("E: Unmet dependencies. Try 'apt --fix-broken install' with no packages")
if words[0] == "install":
    release = words[words.index("-t") + 1] if "-t" in words else "distribution"
    for name in words[words.index("--") + 1:]:
        if name not in state["offered"].get(release, {}):
            sys.exit("E: Unable to locate package " + name)
        state["installed"][name] = state["offered"][release][name]
json.dump(state, open(folder + "/state.json", "w"))
"""
FIRMWARE = {
    "name": "firmware-amd-graphics",
    "floor": "20260110",
    "known_bad": ["20251125"],
    "release": "backports",
}


class Apt:
    """The stand-ins' folder."""

    def __init__(self, folder: Path, installed: dict[str, str], offered: dict[str, dict[str, str]]) -> None:
        self.path = folder / "state.json"
        for name, text in {"dpkg-query": DPKG_QUERY, "apt-get": APT_GET, "dpkg": DPKG}.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        state = {"installed": installed, "offered": offered, "calls": [], "cut": {}}
        self.path.write_text(json.dumps(state))

    def cut(self, packages: dict[str, str], gone: tuple[str, ...] = ()) -> None:
        """Leave packages as a power cut does; apt has no archive of those that are `gone`."""
        state = json.loads(self.path.read_text())
        self.path.write_text(json.dumps({**state, "cut": packages, "gone": gone}))

    def lock(self, times: int) -> None:
        """Let another apt hold the lock for so many calls."""
        self.path.write_text(json.dumps({**json.loads(self.path.read_text()), "locked": times}))

    @property
    def calls(self) -> list[list[str]]:
        return list(json.loads(self.path.read_text())["calls"])


@pytest.mark.parametrize("version", ["20260110-1~bpo13+1", "20260110-1", "20260916-1"])
def test_what_is_good_enough_is_left_alone_without_network(
    run_module: RunModule, programs: Path, version: str
) -> None:
    apt = Apt(programs, {"firmware-amd-graphics": version}, {})

    answer = run_module("apt_packages", packages=[FIRMWARE])

    assert answer["changed"] is False
    assert apt.calls == []


@pytest.mark.parametrize("version", [None, "20250410-2", "20251125-1"])
def test_what_is_missing_old_or_bad_is_installed_from_its_release(
    run_module: RunModule, programs: Path, version: str | None
) -> None:
    installed = {"firmware-amd-graphics": version} if version else {}
    apt = Apt(programs, installed, {"backports": {"firmware-amd-graphics": "20260916-1~bpo13+1"}})

    answer = run_module("apt_packages", packages=[FIRMWARE])

    assert answer["changed"] is True
    assert answer["installed"] == {"firmware-amd-graphics": "20260916-1~bpo13+1"}
    install = ["install", "-t", "backports", "--allow-change-held-packages", "--", "firmware-amd-graphics"]
    assert apt.calls == [["update"], install]


@pytest.mark.parametrize(
    ("offered", "floor"), [("20250410-2", "20260110"), ("20251125-1", "20250101")], ids=["old", "bad"]
)
def test_a_release_that_has_nothing_better_is_a_failure(
    run_module: RunModule, programs: Path, offered: str, floor: str
) -> None:
    Apt(programs, {}, {"backports": {"firmware-amd-graphics": offered}})

    answer = run_module("apt_packages", packages=[{**FIRMWARE, "floor": floor}])

    assert answer["rc"] == 1
    assert f"firmware-amd-graphics from backports is {offered}" in answer["msg"]


def test_an_unknown_package_fails_with_apt_s_reason_and_the_hint(
    run_module: RunModule, programs: Path
) -> None:
    Apt(programs, {}, {})

    answer = run_module("apt_packages", packages=[{"name": "tailscale"}], hint="add its repository")

    assert (
        answer["msg"]
        == "apt-get install failed: E: Unable to locate package tailscale; hint: add its repository"
    )


def test_newest_looks_for_a_newer_one_and_tells_the_truth(run_module: RunModule, programs: Path) -> None:
    Apt(programs, {"linux-image-amd64": "7.2.12-1"}, {"distribution": {"linux-image-amd64": "7.2.12-1"}})

    answer = run_module("apt_packages", packages=[{"name": "linux-image-amd64", "newest": True}])

    assert answer["changed"] is False


def test_check_mode_says_what_it_would_do_and_does_nothing(run_module: RunModule, programs: Path) -> None:
    apt = Apt(programs, {}, {"backports": {"firmware-amd-graphics": "20260916-1"}})

    answer = run_module("apt_packages", check=True, packages=[FIRMWARE])

    assert answer["changed"] is True
    assert "firmware-amd-graphics" in answer["diff"]["after"]
    assert apt.calls == []


def test_it_waits_for_another_apt(
    run_module: RunModule, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _s: None)
    apt = Apt(programs, {}, {"distribution": {"tuned": "2.25.1-1"}})
    apt.lock(2)

    answer = run_module("apt_packages", packages=[{"name": "tuned"}])

    assert answer["changed"] is True
    assert [call[0] for call in apt.calls] == ["update", "update", "update", "install"]


def test_it_does_not_wait_for_ever(run_module: RunModule, programs: Path) -> None:
    Apt(programs, {}, {}).lock(9)

    answer = run_module("apt_packages", packages=[{"name": "tuned"}], lock_timeout_s=0)

    assert "Could not get lock" in answer["msg"]
    assert answer["locked"]


HOLD = """import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


def test_who_holds_a_lock_has_a_name(tmp_path: Path, plugin: Callable[[str], ModuleType]) -> None:
    holder = plugin("modules.apt_packages").holder
    lock = tmp_path / "lock"
    argv = [sys.executable, "-c", HOLD, str(lock)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        said = holder((str(tmp_path / "none"), str(lock)))
        assert said.startswith(f"process {process.pid} ({sys.executable} -c")
        assert len(said) < 150
    finally:
        process.kill()
        process.communicate()
    assert holder((str(lock),)) == "another process"


UNPACKED, HALF, REINSTALL = "iU ", "iH ", "iHR"


@pytest.mark.parametrize("state", [UNPACKED, HALF, REINSTALL])
def test_what_a_power_cut_left_unpacked_is_completed(
    run_module: RunModule, programs: Path, state: str
) -> None:
    apt = Apt(programs, {}, {"distribution": {"tuned": "2.25.1-1"}})
    apt.cut({"libdrm2": state})

    answer = run_module("apt_packages", packages=[{"name": "tuned"}])

    assert answer["changed"] is True, answer
    fixed = [] if state == UNPACKED else [["--fix-broken", "--reinstall", "install", "--", "libdrm2"]]
    assert apt.calls == [
        ["--configure", "-a"],
        ["update"],
        *fixed,
        ["install", "--allow-change-held-packages", "--", "tuned"],
    ]


def test_what_cannot_be_completed_is_named(run_module: RunModule, programs: Path) -> None:
    apt = Apt(programs, {}, {"distribution": {"tuned": "2.25.1-1"}})
    apt.cut({"libdrm2": HALF, "libfoo": REINSTALL}, gone=("libfoo",))

    answer = run_module("apt_packages", packages=[{"name": "tuned"}])

    assert "dpkg was interrupted, and libfoo cannot be completed" in answer["msg"]
    assert "hint: " in answer["msg"]
