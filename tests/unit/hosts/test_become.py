"""A wrong password is told from a missing one, by what sudo does and not by the words of its language."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from strixfleet.errors import ProbeFailed
from strixfleet.hosts.local_remote import LocalRemote
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.settings import HostSettings


# Behaves as sudo does for an account whose password is `geheim`, in the words of a German or of Rust's sudo.
SUDO = """#!/bin/sh
while [ "$1" != -- ]; do
    case "$1" in -n) asks=no ;; -p) prompt=$2; shift ;; esac
    shift
done
shift
[ "$asks" = no ] && { echo "sudo: Ein Passwort ist notwendig" >&2; exit 1; }
printf FRAME "$prompt" >&2
IFS= read -r typed
[ "$typed" = geheim ] && exec "$@"
printf FRAME "$prompt" >&2
echo "sudo: 1 falscher Passwortversuch" >&2
exit 1
"""
FRAMES = {"sudo": "%s", "sudo-rs": "'[sudo: %s] '"}


def remote(folder: Path, password: str | None, frame: str = "%s") -> LocalRemote:
    program = folder / "sudo"
    program.write_text(SUDO.replace("FRAME", frame))
    program.chmod(0o755)
    secret = SecretStr(password) if password else None
    wish = Connection("h1", local=True, become=True, become_exe=str(program), become_password=secret)
    return LocalRemote(Host("h1", wish, HostSettings()))


def test_a_missing_password_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ProbeFailed, match="sudo wants a password") as caught:
        remote(tmp_path, None).run(["true"], timeout_s=5)
    assert "-K" in caught.value.hint


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_a_wrong_password_is_called_wrong(tmp_path: Path, frame: str) -> None:
    with pytest.raises(ProbeFailed, match="sudo did not accept the become password") as caught:
        remote(tmp_path, "verkehrt", frame).run(["true"], timeout_s=5)
    assert "verkehrt" not in str(caught.value)


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_the_right_password_leaves_no_prompt_in_what_the_program_prints(tmp_path: Path, frame: str) -> None:
    argv = ["sh", "-c", "echo out; echo password >&2; exit 1"]
    result = remote(tmp_path, "geheim", frame).run(argv, timeout_s=5)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "out\n", "password\n")


def test_a_program_that_fails_is_not_sudo_s_refusal(tmp_path: Path) -> None:
    result = remote(tmp_path, "geheim").run(["sh", "-c", "echo no such password >&2; exit 1"], timeout_s=5)
    assert (result.exit_code, result.stderr) == (1, "no such password\n")
