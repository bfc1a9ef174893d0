"""A host that is dying or lies: whatever it answers is that host's `unknown`, and never more than it said."""

import base64
import json
import random
import subprocess
import sys
import zlib
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from strixfleet.commands.unlock import describe
from strixfleet.errors import ExitCode, FleetError, GgufError, HostError, ProbeFailed
from strixfleet.findings.last_good import Subject
from strixfleet.findings.results import HostReport, Report
from strixfleet.fleet import session
from strixfleet.fleet.host_status import status_of
from strixfleet.hosts import remote
from strixfleet.hosts.fabric_remote import FabricRemote
from strixfleet.hosts.fan_out import fan_out
from strixfleet.hosts.host_program import HostAnswer, read_answer
from strixfleet.hosts.local_remote import LocalRemote
from strixfleet.hosts.probe import read_answers
from strixfleet.hosts.remote import CommandResult
from strixfleet.inventory.schema.fleet_model import Connection, Fleet, Host
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.compiled import compile_host
from strixfleet.managed.facts import APPLIED, ControllerFacts
from strixfleet.on_host.envelope import MARK
from strixfleet.on_host.questions import Answer, Answers, Ask, Question
from strixfleet.on_host.switch.strixfleet_host import SCHEMA
from strixfleet.rollout.gate_watch import Watch, problems
from strixfleet.rollout.refuse_busy import on_trial, refuse_locked
from strixfleet.speed.measure.host_answer import HostAnswer as MeasuredHost
from strixfleet.speed.measure.measure_memory import MemorySpeed
from strixfleet.speed.measure.remote_bench import Bench
from tests.cases.aspect_cases import BASELINES, Case, load_case
from tests.fixtures.damage import damaged_texts


HOSTILE_LINES = {
    "nothing": "",
    "cut": f'{MARK}{{"ok": true, "code": "done", "da',
    "null": f"{MARK}null",
    "a list": f"{MARK}[]",
    "deep": f"{MARK}{'[' * 100_000}",
    "deep and whole": f'{MARK}{{"ok": true, "code": "done", "text": "", "data": {"[" * 500}{"]" * 500}}}',
    "a huge number": f'{MARK}{{"ok": true, "code": "done", "text": "", "data": {"9" * 5000}}}',
    "a word for yes": f'{MARK}{{"ok": "yes", "code": "done", "text": "", "data": []}}',
    "rows of another kind": f'{MARK}{{"ok": true, "code": "done", "text": "", "data": [1, null, ["read"]]}}',
    "an unknown verb": f'{MARK}{{"ok": true, "code": "done", "text": "", "data": [["eat", "x", 1, null]]}}',
    "no rows": f'{MARK}{{"ok": true, "code": "done", "text": "", "data": null}}',
}


class Says:
    """A host that answers each command with the same text."""

    def __init__(self, stdout: str) -> None:
        self.stdout = stdout

    def run(self, argv: Sequence[str], *, timeout_s: float, become: bool = True) -> CommandResult:
        del argv, timeout_s, become
        return CommandResult(0, self.stdout, "")

    def close(self) -> None:
        """Do nothing."""


@pytest.fixture(scope="module")
def case() -> Case:
    return load_case(BASELINES / "debian_13.yml")


def envelope(data: object) -> str:
    return json.dumps({"ok": True, "code": "done", "text": "", "data": data})


def printed(text: bytes) -> str:
    return f"{MARK}{text.decode('utf-8', 'replace')}\n"


def judge(case: Case, answers: Answers) -> None:
    """Do all that the controller does with a host's answers."""
    state = compile_host(case.host, answers, ControllerFacts(""))
    rows = state.differences(answers)
    state.deeds(answers)
    json.dumps([row.to_json() for row in rows], ensure_ascii=False).encode()
    json.dumps([state.since_applied, status_of(case.host, answers)], ensure_ascii=False).encode()


@pytest.mark.parametrize("line", HOSTILE_LINES.values(), ids=HOSTILE_LINES)
def test_an_answer_that_is_none_is_that_hosts_error(line: str) -> None:
    with pytest.raises(ProbeFailed, match=r"^h1: "):
        read_answers(line, host="h1")


def test_what_a_sound_host_answers_is_read_as_it_is(case: Case) -> None:
    good = case.answers
    answers = read_answers(printed(envelope(good.to_json()).encode()), host="h1")
    assert answers.to_json() == good.to_json()


def test_none_of_300_damaged_answers_is_more_than_one_hosts_unknown(case: Case) -> None:
    good = envelope(case.answers.to_json()).encode()
    refused = 0
    for text in damaged_texts(good, 300):
        try:
            answers = read_answers(printed(text), host="h1")
        except ProbeFailed:
            refused += 1
            continue
        judge(case, answers)
    assert refused > 100


def test_a_value_of_another_kind_is_an_unknown_row_and_spares_the_others(case: Case) -> None:
    good = case.answers
    lie = Question(Ask.UNIT, "strixfleet-revert.timer")
    rows = Answers({**{one: good[one] for one in good}, lie: Answer(["odd"])}).to_json()
    answers = read_answers(printed(envelope(rows).encode()), host="h1")
    assert answers[lie] == Answer(error="the answer has an unexpected form")
    assert answers[Question(Ask.READ, "/etc/os-release")] == good[Question(Ask.READ, "/etc/os-release")]


def test_none_of_300_damaged_documents_of_a_host_stops_the_others(case: Case) -> None:
    """What a host keeps as JSON comes as text: manifests, applied.json, stamps, last-good, tailscale."""
    good = {one: case.answers[one] for one in case.answers}
    state = compile_host(case.host, case.answers, ControllerFacts(""))
    good[Question(Ask.READ, APPLIED)] = Answer(json.dumps(state.recorded))
    documents = [one for one, answer in good.items() if str(answer.value).startswith(("{", "["))]
    documents = [one for one in documents if isinstance(good[one].value, str)]
    assert len(documents) > 3
    chance = random.Random(15)  # noqa: S311 - the same ones in each run
    for _ in range(300):
        one = chance.choice(documents)
        text = next(damaged_texts(str(good[one].value).encode(), 1, seed=chance.randrange(1 << 30)))
        judge(case, Answers({**good, one: Answer(text.decode("utf-8", "replace"))}))


STATUS = {
    "schema": SCHEMA,
    "ok": True,
    "code": "done",
    "text": "",
    "changed": False,
    "error": None,
    "current": "b2",
    "previous": "b1",
    "builds": ["b1", "b2"],
    "pending": {"from": "b1", "to": "b2", "left_s": 31.0, "length_s": 60.0},
    "refused": [{"ref": "b3", "build": "b3-cpu", "reason": "slow", "at": "today"}],
    "lock": {"owner": "ann", "since": "today", "token": 1, "length_s": 45.0, "left_s": 12.0},
    "token": 7,
}


def used(answer: HostAnswer) -> None:
    """Do what the verbs do with an answer of the host program."""
    try:
        refuse_locked({"h1": answer})
    except FleetError as error:
        str(error).encode()
    on_trial({"h1": answer})
    describe(answer).encode()
    for row in answer.refused:
        f"{row['ref']} {row['at']} {row['reason']}".encode()
    f"{answer.current} {answer.previous} {answer.error} {answer.code}".encode()
    assert all(isinstance(build, str) for build in answer.builds)
    assert answer.token is None or isinstance(answer.token, int)


def test_none_of_300_damaged_answers_of_the_host_program_is_believed() -> None:
    good = json.dumps(STATUS).encode()
    refused = 0
    for text in damaged_texts(good, 300):
        try:
            answer = read_answer(text.decode("utf-8", "replace"), "", host="h1")
        except ProbeFailed:
            refused += 1
            continue
        used(answer)
    assert refused > 150


def test_a_host_that_says_no_error_but_not_done_did_not_do_it() -> None:
    """An answer that contradicts itself is not a success."""
    with pytest.raises(ProbeFailed):
        read_answer(json.dumps({**STATUS, "ok": False}), "", host="h1")


DESCRIBE = {
    "build": "b1",
    "instances": {"chat": {"state": "active", "pid": 5, "argv": ["x"], "environment": {}, "cores": [0]}},
    "files": {"/m.gguf": {"size_bytes": 5, "mtime_ns": 1, "inode": 3}},
    "state": {"governors": ["performance"], "cpu_busy_share": 0.1, "memory": {"available_bytes": 5}},
    "last_good": {"entries": {"b1|m.gguf|5|tg128": {"tps": 5.0, "at": "today"}}},
    "bandwidth": {"boot_key": "x", "read_gb_s": 9.0},
    "boot_key": "x",
}
PROGRAM = {"exit_code": 0, "stdout": '{"read_gb_s": 50.0}', "stderr": "", "others_share": 0.0}


@pytest.fixture
def host() -> Host:
    return Host("h1", Connection("127.0.0.1", local=True), HostSettings())


@pytest.mark.parametrize("document", [DESCRIBE, PROGRAM], ids=["describe", "run_program"])
def test_none_of_300_damaged_measurements_is_more_than_one_hosts_error(
    host: Host, document: Mapping[str, Any]
) -> None:
    for text in damaged_texts(envelope(document).encode(), 300):
        bench = Bench(host, Says(printed(text)))
        try:
            if document is DESCRIBE:
                seen = bench.look(["chat"], ["/m.gguf"], 0)
                subject = Subject("b1", "m.gguf", 5)
                speed = seen.last_good.speed_tps(subject, "tg128")
                assert speed is None or speed < 1e300
                seen.size_bytes(["/m.gguf"])
            else:
                MemorySpeed(bench, MeasuredHost()).best_gb_s(again=True)
        except ProbeFailed:
            continue


@pytest.mark.parametrize(
    "packed",
    [
        None,
        "%%%",
        base64.b64encode(b"not zlib").decode(),
        base64.b64encode(zlib.compress(b"\0" * (1 << 28))).decode(),
    ],
    ids=["none", "no base64", "no zlib", "a bomb"],
)
def test_a_header_that_cannot_be_unpacked_is_that_hosts_error(host: Host, packed: str | None) -> None:
    bench = Bench(host, Says(printed(envelope({"packed": packed}).encode())))
    with pytest.raises((ProbeFailed, GgufError)):
        bench.header(["/m.gguf"], {})


WATCHED = {
    "llama-server@chat.service": {"problem": "", "log": "", "invocation": "i", "restarts": 0, "up_s": 5.0}
}


@pytest.mark.parametrize("data", [{}, {"another.service": WATCHED["llama-server@chat.service"]}, [], None])
def test_a_gate_that_heard_nothing_of_a_server_has_not_passed(host: Host, data: object) -> None:
    watch = Watch(host, "")
    watch.units = {"llama-server@chat.service": "http://127.0.0.1:8080"}
    with pytest.raises(ProbeFailed, match="cannot be watched"):
        watch.settle(Says(printed(envelope(data).encode())), 1)


def test_none_of_300_damaged_answers_passes_a_gate_that_did_not(host: Host) -> None:
    watch = Watch(host, "")
    watch.units = {"llama-server@chat.service": "http://127.0.0.1:8080"}
    bad = {unit: {**row, "problem": "does not stay up"} for unit, row in WATCHED.items()}
    passed = 0
    for text in damaged_texts(envelope(bad).encode(), 300):
        try:
            passed += not problems(watch.settle(Says(printed(text)), 1))
        except ProbeFailed:
            continue
    assert passed <= 3  # the text of the problem itself was altered to be empty


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_host_that_never_stops_talking_is_cut_off(
    host: Host, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "ANSWER_LIMIT_BYTES", 1 << 20)
    program = f"import sys\nwhile True: sys.{stream}.write('x' * 65536)"
    with pytest.raises(ProbeFailed, match="h1: it answered more than 1 MiB"):
        LocalRemote(host).run([sys.executable, "-c", program], timeout_s=60, become=False)


def test_what_is_not_text_is_read_all_the_same(host: Host) -> None:
    argv = ["printf", r"\377\376 \200"]
    assert "�" in LocalRemote(host).run(argv, timeout_s=10, become=False).stdout


def test_a_host_that_hangs_and_talks_is_left_after_its_time(host: Host) -> None:
    argv = ["sh", "-c", "echo hello; sleep 60"]
    with pytest.raises(HostError, match="no answer within 1 s"):
        LocalRemote(host).run(argv, timeout_s=1, become=False)


def test_what_nobody_foresaw_about_one_host_leaves_the_others_their_report() -> None:
    hosts = [Host(name, Connection("127.0.0.1"), HostSettings()) for name in ("h1", "h2", "h3")]

    def act(one: Host) -> str:
        if one.name == "h2":
            raise RecursionError("maximum recursion depth exceeded")
        return f"{one.name} is fine"

    found = fan_out(hosts, act)
    assert [found["h1"], found["h3"]] == ["h1 is fine", "h3 is fine"]
    error = found["h2"]
    assert isinstance(error, ProbeFailed)
    assert "RecursionError" in str(error)
    assert "test_damaged_answers.py" in str(error)
    row = HostReport.of_error("h2", error)
    assert Report("audit", (row,)).exit_code == ExitCode.UNREACHABLE


def test_a_defect_in_the_probe_is_said_on_one_line() -> None:
    done = subprocess.run([sys.executable, "-c", "1/0"], capture_output=True, text=True, check=False)
    with pytest.raises(ProbeFailed, match="ZeroDivisionError"):
        read_answers(done.stdout, host="h1", stderr=done.stderr)


def test_the_good_hosts_are_reported_whatever_the_others_answer(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {name: Says(line) for name, line in HOSTILE_LINES.items()}
    said["good"] = Says(printed(envelope(case.answers.to_json()).encode()))
    hosts = tuple(Host(name, case.host.connection, case.host.settings) for name in said)
    monkeypatch.setattr(session, "remote_for", lambda one, _known_hosts: said[one.name])
    found = session.look_at_all(Fleet(hosts), hosts, forks=4)
    rows = {name: session.host_report(name, one) for name, one in found.items()}
    assert Report("audit", tuple(rows.values())).exit_code == ExitCode.UNREACHABLE
    assert len(rows["good"].items) > 50
    assert rows["good"].error is None
    for name in HOSTILE_LINES:
        assert "its state could not be read" in str(rows[name].error), name


class EndlessChannel:
    """A channel of paramiko whose other side never stops."""

    def __init__(self) -> None:
        self.closed = False

    def exec_command(self, _command: str) -> None:
        """Do nothing."""

    def shutdown_write(self) -> None:
        """Do nothing."""

    def settimeout(self, _seconds: float) -> None:
        """Do nothing."""

    def recv_stderr_ready(self) -> bool:
        return False

    def recv(self, size: int) -> bytes:
        return b"x" * size

    def close(self) -> None:
        self.closed = True


def test_a_host_over_fabric_that_never_stops_talking_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = EndlessChannel()
    connection = SimpleNamespace(transport=SimpleNamespace(open_session=lambda **_limit: channel))
    fabric = FabricRemote(Host("h1", Connection("127.0.0.1"), HostSettings()), "")
    monkeypatch.setattr(fabric, "_open", lambda: connection)
    with pytest.raises(ProbeFailed, match="it answered more than 64 MiB"):
        fabric.run(["true"], timeout_s=60)
    assert channel.closed
