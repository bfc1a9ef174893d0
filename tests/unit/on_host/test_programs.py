"""The scripts that run on the host, run here: against files, programs and a server made for it."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from strixfleet.errors import GgufError, ProbeFailed
from strixfleet.hosts.host_code import program_argv, read_data
from strixfleet.hosts.reach import remote_for
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.on_host import describe, http_client, request, run_program, sources
from strixfleet.sandbox.gguf_writer import write_random_llama
from strixfleet.speed.measure import remote_bench as adapter
from strixfleet.speed.measure.host_answer import FileStat
from strixfleet.speed.measure.remote_bench import Bench


PROGRAMS = ("ask", "describe", "request", "run_program", "watch", "switch.strixfleet_host")
KEY = "planted-secret"


def local_host(**settings: object) -> Host:
    return Host("here", Connection("127.0.0.1", local=True), HostSettings.model_validate(settings))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    monkeypatch.setattr(adapter, "user_cache_path", lambda _name: tmp_path / "cache")
    host = local_host()
    return Bench(host, remote_for(host, ""))


def test_scripts_need_only_the_oldest_python_that_hosts_have() -> None:
    import ast

    for program in PROGRAMS:
        for module in sources.needed(program):
            tree = ast.parse(sources.text(sources.path_of(module)), feature_version=(3, 9))
            assert any(
                isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body
            ), f"{module}: annotations newer than 3.9 would be evaluated"


def test_a_look_through_a_real_process(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(b"x" * 10)
    answer = bench.look([], [str(file), "/nowhere"], 0.0)
    assert answer.files["/nowhere"] is None
    assert answer.size_bytes([str(file)]) == 10
    assert answer.conditions.cores > 0
    assert 0 <= answer.conditions.cpu_busy_share <= 1


def test_a_simulated_tree_is_read_instead_of_the_machines(tmp_path: Path) -> None:
    freq = tmp_path / "sys/devices/system/cpu/cpu0/cpufreq"
    freq.mkdir(parents=True)
    (freq / "scaling_governor").write_text("powersave\n", encoding="utf-8")
    card = tmp_path / "sys/class/drm/card0/device"
    card.mkdir(parents=True)
    (card / "mem_info_gtt_total").write_text("123\n", encoding="utf-8")
    state = describe.state(str(tmp_path), set())
    assert state["governors"] == ["powersave"]
    assert state["memory"]["gtt_total"] == 123


def test_a_header_travels_once_and_is_read_again_when_the_file_changed(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    write_random_llama(file, size_bytes_at_least=2_000_000)
    identity = {str(file): FileStat(file.stat().st_size, inode=1)}
    first = bench.header([str(file)], identity)
    assert first.tensors
    asked: list[object] = []
    bench._fetch = lambda *given: asked.append(given)  # type: ignore[method-assign] # counts
    assert bench.header([str(file)], identity) == first
    assert not asked
    with pytest.raises(GgufError):
        bench.header([str(file)], {str(file): FileStat(1, inode=2)})
    assert asked


def test_a_file_that_is_no_model_is_said(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(b"not a model")
    with pytest.raises(GgufError, match=r"here: .*m\.gguf: is not a GGUF file"):
        bench.header([str(file)], {})


def test_measurement_files_are_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in (describe, run_program):
        monkeypatch.setattr(program, "STATE", str(tmp_path / "state"))
    run_program.keep({"name": "last-good.json", "data": {"entries": {"a": 1}}})
    assert describe.stored("last-good.json") == {"entries": {"a": 1}}
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["last-good.json"]
    with pytest.raises(ValueError, match="is not a measurement file"):
        run_program.keep({"name": "../../etc/passwd", "data": {}})


@pytest.mark.programs
def test_a_program_runs_with_the_servers_environment_and_its_end_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "llama-bench"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$GGML_X $1"\necho trouble >&2\nexit 3\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(run_program, "CURRENT", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)  # root would confine it
    request = {
        "program": "llama-bench",
        "arguments": ["a b"],
        "timeout_s": 20,
        "environment": {"GGML_X": "1"},
        "cores": [],
        "nice": 0,
    }
    row = run_program.program(request)
    assert (row["exit_code"], row["stdout"], row["stderr"]) == (3, "1 a b\n", "trouble\n")
    absent = run_program.program({**request, "program": "absent"})
    assert absent["exit_code"] == -1
    assert "No such file" in absent["stderr"]
    program.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    endless = run_program.program({**request, "timeout_s": 0.1})
    assert endless["exit_code"] == -1
    assert "did not end within 0.1 s" in endless["stderr"]


def test_secrets_of_a_process_stay_on_the_host() -> None:
    environment = {"LLAMA_ARG_API_KEY": KEY, "LLAMA_ARG_THREADS": "4", "HF_TOKEN": KEY, "PATH": "/usr/bin"}
    argv = [sys.executable, "-c", "print(flush=True); input()", "--api-key", KEY]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, env=environment, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seen = describe.environment_of(process.pid), describe.arguments_of(process.pid)
        process.communicate(b"\n")
    assert seen[0] == {"LLAMA_ARG_THREADS": "4"}
    assert KEY not in json.dumps(seen)


def test_an_error_of_the_program_is_a_sentence() -> None:
    argv = program_argv("run_program", {"do": "header", "path": "/nowhere", "count": 1}, sys.executable)
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    with pytest.raises(ProbeFailed, match="h1: could not be measured: /nowhere: No such file or directory"):
        read_data(done.stdout, "", host="h1")
    with pytest.raises(ProbeFailed, match="h1: could not be measured: sudo: a password is required"):
        read_data("", "sudo: a password is required\n", host="h1")


class Server(BaseHTTPRequestHandler):
    """A llama-server that knows one key; `answers` are what /completion says in turn."""

    answers: tuple[list[int], ...] = ([1, 2, 3], [1, 2, 3])
    asked = 0

    def log_message(self, *_given: object) -> None:
        """Say nothing."""

    def _send(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self._send(b"# TYPE x gauge\nllamacpp:requests_processing 2\n")
        else:
            self._send(json.dumps({"build_info": "b2-256c7ed", "model_path": "/m.gguf"}).encode())

    def do_POST(self) -> None:
        wish = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            self._send(b'{"error": "no key"}', 401)
        elif wish.get("stream"):
            events: list[dict[str, Any]] = [{"content": "a", "stop": False} for _ in range(wish["n_predict"])]
            events.append({"stop": True, "tokens_predicted": wish["n_predict"], "timings": {"prompt_n": 7}})
            self._send(b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events))
        else:
            tokens = self.answers[Server.asked % len(self.answers)]
            Server.asked += 1
            self._send(json.dumps({"content": "abc", "tokens": tokens}).encode())


@pytest.fixture
def server() -> Iterator[str]:
    Server.asked, Server.answers = 0, ([1, 2, 3], [1, 2, 3])
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.shutdown()
        thread.join()


def request_to(url: str, key_file: Path | None) -> dict[str, Any]:
    return {
        "url": url,
        "pid": os.getpid(),
        "key_file": str(key_file) if key_file else None,
        "body": {"prompt": "x", "n_predict": 20},
        "repetitions": 3,
        "repeat_tokens": 3,
    }


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    file.write_text(f"# keys\n\n{KEY}\nanother\n", encoding="utf-8")
    return file


def test_requests_to_a_server_with_a_key(bench: Bench, server: str, key_file: Path) -> None:
    served = bench.served(request_to(server, key_file), 20)
    assert served.error is None
    assert [run.tokens for run in served.runs] == [20, 20, 20]
    assert served.runs[0].prompt_tokens == 7
    assert served.busy_slots == 2
    assert (served.build_info, served.model_path) == ("b2-256c7ed", "/m.gguf")
    assert served.wrong_output() == ""


def test_two_answers_to_one_request_are_seen(bench: Bench, server: str, key_file: Path) -> None:
    Server.answers = ([1, 2, 3], [1, 2, 4])
    served = bench.served(request_to(server, key_file), 20)
    assert "different answers" in served.wrong_output()


def test_a_refused_key_is_said_and_not_shown(bench: Bench, server: str) -> None:
    served = bench.served(request_to(server, None), 20)
    assert served.error is not None
    assert served.error.startswith("the server answered 401")


def test_a_server_that_is_not_there_is_said(bench: Bench) -> None:
    served = bench.served(request_to("http://127.0.0.1:9", None), 20)
    assert served.error is not None
    assert "did not answer" in served.error


def test_a_server_that_claims_more_tokens_than_were_asked_for_is_not_faster() -> None:
    final = {"stop": True, "tokens_predicted": 10**6}
    events = iter([{"content": "a", "stop": False}, final])
    server = cast("http_client.Server", SimpleNamespace(events=lambda *_given: events))
    assert request.stream(server, {"n_predict": 20})["tokens"] == 20


def test_a_model_that_is_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    os.mkfifo(path)
    with pytest.raises(OSError, match="is not a plain file"):
        run_program.header({"path": str(path), "count": 4})
