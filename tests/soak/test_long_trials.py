"""
The long trials of upgrades, on real hosts that run the imitation; `make soak` runs them.

Figures are printed, and kept by hand in docs/evidence/. STRIXFLEET_TRIALS and STRIXFLEET_SEED choose how many
kills there are and when, so that several runs can share the work.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.rollout.conftest import (
    BUILD_AND_LOAD_S,
    BUILDS,
    REASONS,
    Site,
    check_bad_build,
    disposable_site,
    no_link,
    wait_for,
)


pytestmark = [pytest.mark.host, pytest.mark.soak]
TRIALS = int(os.environ.get("STRIXFLEET_TRIALS", "50"))
SEED = int(os.environ.get("STRIXFLEET_SEED", "4"))
LEASE_LIMIT_S = 90
NOTICED_S = 45
COMMITS, CULPRIT = 64, 37
GO_ON = 1.15


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from disposable_site(5, tmp_path_factory.mktemp("five"))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from disposable_site(3, tmp_path_factory.mktemp("three"))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from disposable_site(1, tmp_path_factory.mktemp("one"))


def tell(text: str) -> None:
    """Print a figure for the evidence, past pytest's capture."""
    print(text, file=sys.__stderr__, flush=True)


@pytest.mark.parametrize("behaviour", list(REASONS))
def test_a_fleet_of_five_stays_whole_whatever_is_wrong_with_a_build(five: Site, behaviour: str) -> None:
    check_bad_build(five, behaviour)
    assert [five.health(name) for name in five.names] == ["200"] * 5


def test_a_good_build_reaches_all_five(five: Site) -> None:
    code, document, said = five.call("upgrade", "--to", "v1.1.0", "--yes", "--soak", "0", "--batch", "2")
    assert code == 0, said
    rows = document["hosts"]
    assert {row["outcome"] for row in rows.values()} == {"upgraded"}
    downtimes = {name: row["downtime_s"] for name, row in rows.items()}
    _build_s, load_s = BUILD_AND_LOAD_S["v1.1.0"]
    tell(f"five hosts, downtimes with a load of {load_s} s: {downtimes}")
    assert all(down <= load_s + 3 for down in downtimes.values())
    code, advice, said = five.call("advise")
    assert code == 0, said
    assert "v1.1.0 is the newest that passed here" in json.dumps(advice)


def smoke_s(site: Site, host: str) -> float:
    """Time what a gate cannot do without: the smoke benchmark itself, without start-up and survey."""
    code, document, said = site.call("bench", "-l", host)
    assert code in {0, 1}, said
    return float(document["hosts"][host]["seconds"])


def switch_and_load_s(site: Site, host: str) -> float:
    started = time.monotonic()
    site.run(host, "systemctl restart llama-server@chat")
    while site.health(host) != "200":
        assert time.monotonic() - started < 120
        time.sleep(0.2)
    return time.monotonic() - started


def test_an_upgrade_takes_hardly_longer_than_the_work_itself(three: Site) -> None:
    """
    Bound: 1.15 * (one build + waves * (switch + load + smoke)), where these take a minute or more.

    One host a wave, since the hosts share this machine. The build's time is the imitation's; switch, load and
    smoke are measured on a host afterwards, with the same build. As after a provision, every host was
    measured before.
    """
    assert three.call("bench")[0] in {0, 1}
    started = time.monotonic()
    code, document, said = three.call("upgrade", "--to", "v1.1.2", "--yes", "--soak", "0", "--batch", "1")
    wall_s = time.monotonic() - started
    assert code == 0, said
    assert {row["outcome"] for row in document["hosts"].values()} == {"upgraded"}
    host, waves, build_s = three.names[1], 3, BUILD_AND_LOAD_S["v1.1.2"][0]
    step_s = switch_and_load_s(three, host) + smoke_s(three, host)
    bound_s = build_s + waves * step_s
    tell(
        f"three hosts in {waves} waves: {wall_s:.1f} s; {build_s} + {waves} * {step_s:.1f} = {bound_s:.1f} s"
    )
    tell(f"ratio {wall_s / bound_s:.3f}")
    assert wall_s <= GO_ON * bound_s
    assert three.call("rollback", "--yes")[0] == 0
    three.write()  # the pin as before


PHASES = {
    "staging": ("staging on",),
    "activating": (": activating",),
    "gating": ("running the gate",),
    "confirming": (": confirming",),
}


@pytest.mark.parametrize("phase", list(PHASES))
def test_a_link_that_drops_in_any_phase_is_noticed_and_the_host_ends_well(three: Site, phase: str) -> None:
    canary = three.made.hosts[0]
    running = three.current(canary.name)
    process = three.start("upgrade", "--to", "v1.1.0", "--retry", "--yes", "--soak", "5")
    wait_for(process, *PHASES[phase])
    started = time.monotonic()
    with no_link(canary.address):
        wait_for(process, f"{canary.name}: silent", f"{canary.name}: lost", f"{canary.name}: confirm failed")
        noticed_s = time.monotonic() - started
        tell(f"link dropped while {phase}: noticed after {noticed_s:.1f} s")
        assert noticed_s <= NOTICED_S
        time.sleep(5)
    _out, said = process.communicate(timeout=400)
    assert process.returncode in {3, 4}, said
    three.wait_until_no_trial(LEASE_LIMIT_S)
    current = three.current(canary.name)
    assert current == running or (phase == "confirming" and current.startswith("v1.1.0-")), said
    assert three.health(canary.name) == "200"
    assert all(three.current(name).startswith("v1.0.0-") for name in three.names[1:])
    if current != running:
        assert three.call("rollback", "--yes", "-l", canary.name)[0] == 0


def test_a_holder_that_slept_through_a_takeover_changes_nothing(three: Site) -> None:
    """SIGSTOP a real controller in its gate, let another one upgrade everything, SIGCONT."""
    first = three.start("upgrade", "--to", "v1.1.1", "--retry", "--yes", "--soak", "600")
    wait_for(first, "running the gate")
    first.send_signal(signal.SIGSTOP)
    three.wait_until_no_trial(LEASE_LIMIT_S)
    code, _document, said = three.call("upgrade", "--to", "v1.0.1", "--retry", "--yes", "--soak", "0")
    assert code == 0, said
    before = {name: three.digest(name) for name in three.names}
    links = {name: three.run(name, f"ls -l {BUILDS}") for name in three.names}
    first.send_signal(signal.SIGCONT)
    _out, said = first.communicate(timeout=300)
    assert first.returncode == 4, said
    assert {name: three.digest(name) for name in three.names} == before
    assert {name: three.run(name, f"ls -l {BUILDS}") for name in three.names} == links
    assert "llama_cpp_ref: v1.0.1" in three.pin_file.read_text()


def test_the_controller_dies_at_random_instants(three: Site) -> None:
    chance = random.Random(SEED)  # noqa: S311 - instants, not secrets
    waits = []
    for number in range(TRIALS):
        target = "v1.0.9" if number % 2 else "v1.0.1"
        process = three.start("upgrade", "--to", target, "--retry", "--yes", "--soak", "5")
        after_s = chance.uniform(1, 75)
        try:
            process.wait(timeout=after_s)
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        waits.append(three.wait_until_no_trial(LEASE_LIMIT_S))
        active = [three.run(name, "systemctl is-active llama-server@chat") for name in three.names]
        assert active == ["active"] * 3, f"killed after {after_s:.1f} s"
        tell(f"kill {number + 1} of {TRIALS} at {after_s:.1f} s: {waits[-1]:.0f} s until none was on trial")
    code, document, said = three.call("upgrade", "--to", "v1.0.9", "--retry", "--yes", "--soak", "5")
    assert code == 0, said
    assert {row["outcome"] for row in document["hosts"].values()} <= {"upgraded", "unchanged"}
    tell(f"{TRIALS} kills: longest wait {max(waits):.0f} s")


def add_history(upstream: Path, count: int, culprit: int) -> str:
    """Add commits after v1.0.0 of which number `culprit` and all after it are slow; give that one's hash."""
    who = {f"GIT_{role}_{key}": "t@t" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}

    def git(*words: str) -> str:
        argv = ["git", "-C", str(upstream), *words]
        return subprocess.run(
            argv, check=True, capture_output=True, text=True, env={**os.environ, **who}
        ).stdout.strip()

    git("checkout", "-q", "-B", "history", "v1.0.0")
    slow = ""
    for number in range(1, count + 1):
        (upstream / "behaviour").write_text("slow\n" if number >= culprit else "good\n")
        (upstream / "notes").write_text(f"commit {number}")
        git("commit", "-qam", f"commit {number}")
        slow = git("rev-parse", "HEAD") if number == culprit else slow
    git("tag", "v2.0.0")
    return slow


def test_bisect_finds_the_slow_one_of_sixty_four_commits(one: Site) -> None:
    culprit = add_history(one.upstream, COMMITS, CULPRIT)
    (name,) = one.names
    running = one.current(name)
    code, document, said = one.call("bisect", "v1.0.0", "v2.0.0", "--soak", "0")
    assert code == 0, said
    row = document["hosts"][name]
    tell(f"bisect over {COMMITS} commits: {len(row['tried'])} builds")
    assert row["suspects"] == [culprit]
    assert len(row["tried"]) <= 6
    assert one.current(name) == running
    assert one.health(name) == "200"


def test_unlock_shows_and_removes_a_lock_whose_owner_is_gone(one: Site) -> None:
    (name,) = one.names
    one.run(name, "/opt/strixfleet/lib/strixfleet-host lock --owner bob@elsewhere --ttl 3600")
    code, _document, said = one.call("upgrade", "--to", "v1.0.1", "--yes")
    assert code == 4
    assert "locked by bob@elsewhere" in said
    code, document, said = one.call("unlock", "--yes")
    assert code == 0, said
    assert document["hosts"][name]["freed"] is True
    assert one.call("upgrade", "--to", "v1.0.1", "--yes", "--soak", "0")[0] == 0
