"""Upgrades of three real hosts that run the imitation: good builds stay, bad ones go back."""

import json
import re
import shlex
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest

from tests.host.outside import reboot, root
from tests.host.rollout.conftest import (
    BUILDS,
    SOAK,
    Site,
    add_tag,
    check_bad_build,
    git,
    no_link,
    tag_of,
    wait_for,
)


pytestmark = pytest.mark.host

# CI's form; the soak takes all
SHORT = {"slow", "long_nonsense", "crosstalk", "removed_flag"}


@pytest.mark.parametrize("behaviour", sorted(SHORT))
def test_a_bad_build_goes_back_and_nobody_else_is_touched(site: Site, behaviour: str) -> None:
    check_bad_build(site, behaviour)


def test_a_ref_that_went_back_is_refused_without_retry(site: Site) -> None:
    code, _document, said = site.call("upgrade", "--to", tag_of("slow"), "--yes")
    assert code == 2
    assert "was returned or rolled back on this host" in said
    assert "--retry" in said


def test_an_interruption_says_nothing_about_the_build(site: Site) -> None:
    """The same command goes on: that is what the next test types."""
    process = site.start("upgrade", "--to", "v1.0.1", "--yes", "--soak", "300")
    wait_for(process, "running the gate")
    process.send_signal(signal.SIGHUP)
    _out, said = process.communicate(timeout=300)
    assert process.returncode == 4, said
    assert "run the same command again to go on" in said
    assert site.current(site.names[0]).startswith("v1.0.0-")
    assert "v1.0.1" not in site.refused(site.names[0])


def test_a_killed_controller_leaves_no_host_on_trial_and_the_next_run_ends_the_work(site: Site) -> None:
    canary = site.names[0]
    process = site.start("upgrade", "--to", "v1.0.1", "--yes", "--soak", "300")
    try:
        wait_for(process, "running the gate")
    finally:
        process.kill()
        process.communicate()
    site.wait_until_no_trial(90)
    assert site.current(canary).startswith("v1.0.0-")
    assert "v1.0.1" not in site.refused(canary)
    code, document, said = site.call("upgrade", "--to", "v1.0.1", "--yes", "--soak", SOAK)
    assert code == 0, said
    assert "resuming the interrupted rollout" in said
    rows = document["hosts"]
    assert {row["outcome"] for row in rows.values()} == {"upgraded"}
    assert "llama_cpp_ref: v1.0.1" in site.pin_file.read_text()
    assert all(row["downtime_s"] < 10 for row in rows.values()), rows
    site.settings["llama_cpp_ref"] = "v1.0.1"
    _code, audited, _said = site.call("audit")
    for row in audited["hosts"].values():
        wrong = [item for item in row["items"] if item["id"].startswith("llama_") and item["status"] != "ok"]
        assert wrong == []


def test_a_dropped_link_is_noticed_and_the_host_goes_back(site: Site) -> None:
    canary = site.made.hosts[0]
    running = site.current(canary.name)
    process = site.start("upgrade", "--to", "v1.0.9", "--yes", "--soak", "300")
    wait_for(process, "running the gate")
    started = time.monotonic()
    with no_link(canary.address):
        wait_for(process, "silent: no heartbeat", "lost: the connection broke")
        assert time.monotonic() - started <= 45
    _out, said = process.communicate(timeout=300)
    assert process.returncode == 4, said
    assert site.current(canary.name) == running
    assert not site.on_trial(canary.name)


def test_rollback_brings_the_previous_build_back(site: Site) -> None:
    name = site.names[-1]
    if not site.current(name).startswith("v1.0.1-"):
        assert site.call("upgrade", "--to", "v1.0.1", "--retry", "--yes", "--soak", "0")[0] == 0
    code, document, said = site.call("rollback", "--yes", "-l", name)
    assert code == 0, said
    assert document["hosts"][name]["to"].startswith("v1.0.0-")
    assert site.current(name).startswith("v1.0.0-")
    code, _document, said = site.call("upgrade", "--yes")
    assert code == 2
    assert "rolled back" in said
    code, document, said = site.call("upgrade", "--yes", "--retry", "--soak", "0")
    assert code == 0, said
    assert document["hosts"][name]["outcome"] == "upgraded"


def test_two_operators_cannot_work_at_once(site: Site) -> None:
    first = site.start("upgrade", "--to", "v1.0.9", "--retry", "--yes", "--soak", "20")
    wait_for(first, "activating")
    code, _document, said = site.call("rollback", "--yes")
    assert code == 4
    assert "locked by" in said
    with pytest.raises(AssertionError, match="upgrades or provisions this host"):
        site.play()
    _out, rest = first.communicate(timeout=600)
    assert first.returncode == 0, rest


def test_a_pin_that_reaches_beyond_the_limit_is_not_rewritten(site: Site) -> None:
    code, _document, said = site.call("upgrade", "--to", "v1.0.4", "--yes", "-l", site.names[-1])
    assert code == 2
    assert re.search(rf"strix.yml:\d+: this line also pins {site.names[0]}", said)


@contextmanager
def home_of_the_thief(address: str) -> Iterator[tuple[str, list[str]]]:
    """Listen where a hostile build wants to bring what it finds; yield the place, and who came."""
    came: list[str] = []
    with socket.create_server((address, 0)) as door:
        place = f"{address}:{door.getsockname()[1]}"

        def listen() -> None:
            with suppress(OSError):
                while True:
                    line, (who, _port) = door.accept()
                    came.append(who)
                    line.close()

        Thread(target=listen, daemon=True).start()
        yield place, came
        door.shutdown(socket.SHUT_RDWR)


def test_a_hostile_repository_gets_nothing_and_leaves_nothing(site: Site) -> None:
    """
    Its build, its --help, its benchmark and its server each try what they can.

    They look for keys, other processes and instances, for this host's network and the world; they leave
    processes, change what the next build is made from, lead requests elsewhere, and take over terminals.
    """
    name = site.names[-1]
    running = site.current(name)
    with home_of_the_thief(site.made.gateway) as (place, came):
        add_tag(site.upstream, "v6.6.6", "hostile", home=place)
        wish = ("-e", "llama_cpp_ref=v6.6.6", "--yes", "-l", name, "--soak", "0")
        code, document, said = site.call("upgrade", *wish)
        log = root(site.made, name, "journalctl --no-pager -o cat -u llama-server@chat")
        assert code == 4, said
        row = document["hosts"][name]
        assert row["outcome"] == "returned"
        assert came == []
        assert "asked for its properties" in log
        assert "STOLEN" not in said + json.dumps(document)
        assert "\x1b" not in said + "".join(document_texts(document))
        assert root(site.made, name, "pgrep -f '[s]leep 98765' || echo nothing").strip() == "nothing"
        assert site.current(name) == running
        assert site.health(name) == "200"

        freed = root(site.made, name, freed_bench(git(site.upstream, "rev-parse", "v6.6.6"), place))
        assert len(came) == 1, "unconfined it does what was prevented above"
        assert "STOLEN /proc/" in freed

    site.call("upgrade", "-e", "llama_cpp_ref=v1.0.9", "--yes", "-l", name, "--retry", "--soak", "0")
    manifest = json.loads(root(site.made, name, f"cat {BUILDS}/current/manifest.json"))
    assert manifest["ref"] == "v1.0.9"
    assert manifest["tree"] == git(site.upstream, "rev-parse", "v1.0.9^{tree}")
    assert "evil" not in root(site.made, name, f"strings -a {BUILDS}/current/bin/llama-bench || true")


def freed_bench(commit: str, place: str) -> str:
    """Return what compiles and runs the hostile benchmark by hand, as root."""
    address, _, port = place.partition(":")
    text = {"HOME_ADDRESS": address, "BUILD_COMMIT": "x", "BUILD_NUMBER": "1"}
    defined = " ".join(f"'-D{key}=\"{value}\"'" for key, value in text.items())
    return f"""cd $(mktemp -d)
    git -c safe.directory='*' --git-dir=/var/lib/strixfleet/source/llama.cpp.git archive {commit} | tar x
    cc -DBEHAVIOUR_hostile -DHOME_PORT={port} {defined} -o bench llama-bench.c && ./bench
    pkill -9 -f '[s]leep 98765'"""


def document_texts(value: object) -> Iterator[str]:
    """Return all texts below a JSON value."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    yield value if isinstance(value, str) else ""
    for part in parts:
        yield from document_texts(part)


SUSPECT = "v9.9.9-cpu-0badb007"
MAKE_SUSPECT = f"""
import hashlib, json, os, shutil
os.chdir({BUILDS!r})
good = os.readlink("current")
shutil.copytree(good, {SUSPECT!r}, symlinks=True)
server = {SUSPECT!r} + "/bin/llama-server"
with open(server, "w") as file:
    file.write('#!/bin/sh\\ntouch "$HOME/suspect-$(cat /proc/sys/kernel/random/boot_id)"\\n')
    file.write('exec {BUILDS}/' + good + '/bin/llama-server "$@"\\n')
manifest = json.load(open({SUSPECT!r} + "/manifest.json"))
digest = hashlib.sha256(open(server, "rb").read()).hexdigest()
files = {{**manifest["files"], "bin/llama-server": digest}}
manifest.update(id={SUSPECT!r}, ref="v9.9.9", files=files)
json.dump(manifest, open({SUSPECT!r} + "/manifest.json", "w"))
"""


def test_after_a_reboot_in_the_middle_of_a_trial_the_suspect_build_is_not_started_again(site: Site) -> None:
    """A build that freezes the box when it loads would reboot it for ever."""
    name = site.names[-1]
    good = site.current(name)
    starts = "ls /var/cache/strixfleet/servers/chat | grep -c ^suspect- || true"
    root(site.made, name, f"python3 -c {shlex.quote(MAKE_SUSPECT)}")
    root(site.made, name, f"/opt/strixfleet/lib/strixfleet-host activate {SUSPECT} --lease 3600")
    assert root(site.made, name, starts).strip() == "1"
    reboot(site.made, name)
    assert site.current(name) == good
    assert site.health(name) == "200"
    assert root(site.made, name, starts).strip() == "1"
    assert not site.on_trial(name)
    root(site.made, name, f"/opt/strixfleet/lib/strixfleet-host discard {SUSPECT}")


def test_a_first_deployment_goes_back_to_not_serving(site: Site) -> None:
    name = site.names[-1]
    site.run(name, f"systemctl stop llama-server@chat; rm {BUILDS}/current {BUILDS}/previous")
    code, document, said = site.call(
        "upgrade", "-e", "llama_cpp_ref=v1.0.4", "--retry", "--yes", "-l", name, "--soak", "0"
    )
    assert code == 4, said
    assert document["hosts"][name]["outcome"] == "returned"
    assert "not serving" in str(document["hosts"][name]["notes"])
    assert "No such file" in site.run(name, f"ls {BUILDS}/current")
    assert site.run(name, "systemctl is-active llama-server@chat") == "inactive"
    site.play()
    assert f"llama_cpp_ref: {site.current(name).partition('-')[0]}" in site.pin_file.read_text()
    assert site.run(name, "systemctl is-active llama-server@chat") == "active"
