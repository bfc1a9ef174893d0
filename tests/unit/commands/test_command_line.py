"""Exit codes and documents of whole commands where nobody answers: no host, or no operator."""

import json
import os
import pty
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from strixfleet import cli


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a verb on two hosts that nobody listens for, without a terminal."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    hosts = {name: {"ansible_host": "127.0.0.1", "ansible_port": port} for name in ("h1", "h2")}
    settings = {
        "llama_cpp_ref": "b10991",
        "llama_cpp_backend": "cpu",
        "llama_models": [{"name": "m", "path": "m.gguf", "sha256": "0" * 64}],
        "llama_server_instances": [{"name": "main", "model": "m", "port": 8080}],
    }
    folder = tmp_path / "fleet"
    folder.mkdir()
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": settings}}))
    own = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state"), "NO_COLOR": "1"}

    def act(verb: str, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "strixfleet", verb, "-i", str(folder), *words]
        return subprocess.run(
            argv,
            env={**os.environ, **own},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return act


def test_a_fleet_that_nobody_answers_for_is_never_as_desired(run: Run) -> None:
    done = run("upgrade", "--check", "--json")
    rows = json.loads(done.stdout)["hosts"]
    assert done.returncode == 3
    assert {(row["outcome"], row["reachable"]) for row in rows.values()} == {("unreachable", False)}
    assert run("rollback", "--yes").returncode == 3
    planned = json.loads(run("plan", "--json").stdout)["hosts"]
    assert [row["changes"] for row in planned.values()] == [[], []]


@pytest.mark.parametrize("batch", ["abc", "0", "-1", "2.5", "%"])
def test_a_wrong_batch_is_wrong_usage(run: Run, batch: str) -> None:
    done = run("upgrade", "--check", "--batch", batch)
    assert (done.returncode, "is not a valid batch size" in done.stderr) == (2, True), done.stderr


def test_a_question_that_nobody_answers_changes_nothing(run: Run) -> None:
    done = run("rollback")
    assert done.returncode == 2
    assert "nothing was changed; hint: --yes" in done.stderr


def test_scripts_get_a_document_where_a_verb_came_to_nothing(run: Run) -> None:
    done = run("audit", "-l", "nobody", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"] == 2
    assert (document["schema"], document["hosts"]) == ("strixfleet/audit/1", {})
    assert "matches no host" in document["error"]


def test_output_is_a_file_for_every_verb(run: Run, tmp_path: Path) -> None:
    for verb in ("validate", "history", "trust"):
        text, document = tmp_path / f"{verb}.txt", tmp_path / f"{verb}.json"
        assert run(verb, "--output", str(text)).stdout == ""
        run(verb, "--output", str(document))
        assert json.loads(document.read_text())["schema"] == f"strixfleet/{verb}/1"
        assert not text.read_text().startswith("{")
    page = tmp_path / "report.json"
    done = run("report", "--output", str(page))
    assert (done.returncode, "is an HTML page" in done.stderr, page.exists()) == (2, True, False)
    done = run("validate", "--output", "/nonexistent/x")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


def test_loading_leaves_nothing_in_the_home(run: Run, tmp_path: Path) -> None:
    assert run("validate").returncode == 0
    assert not (tmp_path / ".ansible").exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("plan {} | true", 3),
        ("plan {} 2>&1 >/dev/null | true", 3),
        ("plan {} 2>&- >/dev/null", 3),
        ("plan {} >&-", 3),
        ("predict --help | true", 0),
        ("rollback {} <&-", 2),
        ("plan {} -K <&-", 2),
        ("plan {} >/dev/full", 4),
        ("upgrade {} --yes --output missing/report.json", 2),
        ("upgrade {} <&-", 3),
    ],
)
def test_what_is_not_there_to_read_or_write_is_no_defect(run: Run, words: str, code: int) -> None:
    """The reader of a pipe went away, a scheduler gave no stdin, the disk is full."""
    folder = str(run("plan").args[5])
    verb, _, rest = words.format(f"-i {shlex.quote(folder)}").partition(" ")
    line = f"{shlex.quote(sys.executable)} -m strixfleet {verb} {rest}; exit ${{PIPESTATUS[0]}}"
    state = {**os.environ, "XDG_STATE_HOME": f"{folder}/../state", "NO_COLOR": "1"}
    done = subprocess.run(
        ["bash", "-c", line], env=state, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_a_terminal_that_was_closed_is_no_defect(run: Run) -> None:
    folder = str(run("plan").args[5])
    master, terminal = pty.openpty()
    os.close(master)
    argv = [sys.executable, "-m", "strixfleet", "plan", "-i", folder]
    state = {**os.environ, "XDG_STATE_HOME": f"{folder}/../state", "NO_COLOR": "1"}
    done = subprocess.run(
        argv, env=state, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal, check=False, timeout=60
    )
    os.close(terminal)
    assert done.returncode == 3


def test_no_escape_sequence_but_a_colour_reaches_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    stream = cli._Stream(sys.stdout)
    stream.write("\x1b[31mred\x1b[0m\n\x1b]0;owned\x07\x1b[2J\tü\n")
    assert capsys.readouterr().out == "\x1b[31mred\x1b[0m\n�]0;owned��[2J\tü\n"
