"""What a program of a build may do: as its server, and no more, however it is started."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from strixfleet.managed.llama_server.server_files import template_file
from strixfleet.managed.platforms.backends import backend_of
from strixfleet.on_host import command, confined, confinement
from strixfleet.on_host.confinement import Allowed


def properties_of(argv: list[str]) -> list[tuple[str, str]]:
    words = [word.removeprefix("--property=") for word in argv if word.startswith("--property=")]
    return [(name, value) for name, _, value in (word.partition("=") for word in words)]


def test_a_run_has_the_properties_of_the_servers_unit() -> None:
    """One statement: whatever the unit forbids, no program of a build can do outside of it."""
    vulkan = backend_of("vulkan")
    unit = [line.split("=", 1) for line in template_file(vulkan, simulated=False).content.splitlines()]
    stated = {(row[0], row[1]) for row in unit if len(row) == 2}
    run = confinement.run_argv("x.service", ["/p"], 60, Allowed(devices=vulkan.control_groups))
    names = {name for name, _value in confinement.properties(vulkan.control_groups, False)}
    assert {row for row in stated if row[0] in names} == {
        row for row in properties_of(run) if row[0] in names
    }
    assert ("ProtectHome", "yes") in properties_of(run)
    assert ("PrivateNetwork", "yes") in properties_of(run)
    assert not [value for name, value in properties_of(run) if name == "IPAddressAllow"]


def test_a_run_ends_at_once_with_all_that_it_started() -> None:
    run = dict(properties_of(confinement.run_argv("x.service", ["/p"], 60.5, Allowed())))
    assert run["RuntimeMaxSec"] == "60"
    assert (run["KillMode"], run["KillSignal"]) == ("control-group", "SIGKILL")


def test_only_the_environment_that_was_handed_over_is_there() -> None:
    argv = confinement.run_argv("x.service", ["/p", "$HOME"], 60, Allowed(environment=(("GGML_X", "1"),)))
    given = [word.removeprefix("--setenv=") for word in argv if word.startswith("--setenv=")]
    assert [row.partition("=")[0] for row in given] == ["PATH", "LC_ALL", "HOME", "GGML_X"]
    assert argv[-2:] == ["/p", "$$HOME"]


def test_what_a_request_does_not_name_is_not_allowed() -> None:
    assert Allowed.of({}) == Allowed()
    assert Allowed.of({"nice": -20}).nice == 0


@pytest.mark.programs
def test_output_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "OUTPUT_LIMIT_BYTES", 1 << 20)
    with pytest.raises(OSError, match="yes printed more than 1 MiB"):
        command.run(["yes"], 30)


@pytest.mark.programs
def test_a_grandchild_that_holds_the_output_open_is_not_waited_for(tmp_path: Path) -> None:
    marker = f"6{time.monotonic_ns() % 10**6}"
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match=r"did not end within 0\.5 s"):
        command.run(["sh", "-c", f"sleep {marker} & exit 0"], 0.5, start_new_session=True)
    assert time.monotonic() - begun < 5
    left = subprocess.run(["pgrep", "-f", f"sleep {marker}"], check=False, capture_output=True)
    assert left.stdout == b""


@pytest.mark.programs
def test_the_time_on_the_cpu_and_the_exit_code_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    busy = "for _ in range(3_000_000): pass"
    says = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"
    done, cpu_s = confined.run([sys.executable, "-c", f"{busy}\n{says}"], 60)
    assert (done.code, done.out, done.err) == (7, "out\n", "err\n")
    assert cpu_s > 0.01
    killed, _cpu_s = confined.run([sys.executable, "-c", "import os; os.abort()"], 60)
    assert killed.code == 134
