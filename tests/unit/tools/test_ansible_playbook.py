"""A play ends with the command that runs it, however that ends, and leaves no secret behind."""

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret

from strixfleet.tools import ansible_playbook
from strixfleet.tools.ansible_playbook import PlayRequest, PlayStatus, play


SECRET = "gEhEiM-7f3a"
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Sleep
      ansible.builtin.command: sleep {seconds}
"""
CHECKS = """
- hosts: all
  gather_facts: false
  vars_files: [vars.yml]
  tasks:
    - name: Check
      ansible.builtin.assert:
        that:
          - ansible_become_password | hash("sha256") == "{digest}"
          - (lookup("ansible.builtin.file", strixfleet_states) | from_json).h1.deeds == {{}}
          - kept == "kept secret"
"""
RUN = """
import sys
from strixfleet import cli
from strixfleet.tools.ansible_playbook import PlayRequest, play

cli.end_well_on_signals()
request = PlayRequest(
    sys.argv[1], (sys.argv[2],), "all", "/dev/null", become_password=sys.argv[3],
    states={"h1": {"planted": sys.argv[3]}},
)
sys.exit(cli.guarded(lambda: play(request, lambda event: print(event, flush=True))))
"""


def commands(word: str) -> list[str]:
    """Return the command lines of all processes that have a word among their arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if word.encode() in words:
            found.append(b" ".join(words).decode())
    return found


def files_with(secret: str, folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


@pytest.fixture
def running(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run a play that sleeps on this machine; it is asleep when the test begins."""
    seconds = str(100_000 + os.getpid())
    (tmp_path / "play.yml").write_text(PLAY.format(seconds=seconds))
    (tmp_path / "hosts.yml").write_text(
        "all: {hosts: {h1: {ansible_connection: local, ansible_python_interpreter: " + sys.executable + "}}}"
    )
    (tmp_path / "tmp").mkdir()
    words = (str(tmp_path / "play.yml"), str(tmp_path / "hosts.yml"), SECRET)
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, *words],
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not commands(seconds):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    yield process
    process.kill()
    process.communicate()
    for number in [path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline")]:
        if Path(f"/proc/{number}/comm").exists() and seconds in commands_of(number):
            os.kill(int(number), signal.SIGKILL)


def commands_of(number: str) -> list[str]:
    try:
        return Path(f"/proc/{number}/cmdline").read_text().split("\0")
    except OSError:
        return []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_a_play_ends_with_us_and_leaves_no_secret(
    running: "subprocess.Popen[str]", tmp_path: Path, number: signal.Signals
) -> None:
    assert files_with(SECRET, tmp_path / "tmp") == []

    running.send_signal(number)
    running.wait(timeout=30)

    deadline = time.monotonic() + 20
    while left := [*commands(str(tmp_path / "play.yml")), *commands(str(100_000 + os.getpid()))]:
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
    assert files_with(SECRET, tmp_path / "tmp") == []
    if number is not signal.SIGKILL:
        assert running.returncode == 4
        assert list((tmp_path / "tmp").glob("strixfleet-*")) == []


def test_passwords_and_states_reach_the_play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a password that looks like a template; the vault's is typed."""
    password = "{{ 1 + 1 }} 'x' "
    monkeypatch.setattr(ansible_playbook, "typed_password", lambda _prompt: "vault word")
    encrypted = VaultLib([("default", VaultSecret(b"vault word"))]).encrypt("kept secret").decode()
    (tmp_path / "vars.yml").write_text(f"kept: !vault |\n{textwrap.indent(encrypted, '  ')}\n")
    (tmp_path / "hosts.yml").write_text("all: {hosts: {h1: {ansible_connection: local}}}\n")
    (tmp_path / "play.yml").write_text(CHECKS.format(digest=hashlib.sha256(password.encode()).hexdigest()))
    request = PlayRequest(
        str(tmp_path / "play.yml"),
        (str(tmp_path / "hosts.yml"),),
        "all",
        "/dev/null",
        states={"h1": {"deeds": {}}},
        become_password=password,
        ask_vault_pass=True,
    )
    assert play(request, print)["h1"].status is PlayStatus.OK
