"""A draft model: what it gains, how much is accepted, and how a server that speculates is judged."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import inf

import pytest

from strixfleet.findings.expectation import Basis, Expectation
from strixfleet.findings.last_good import LastGood, Subject
from strixfleet.findings.verdict import Grade, Verdict
from strixfleet.hosts.reach import remote_for
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.parts import Instance, SmokeBench
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.on_host.questions import Json
from strixfleet.speed.judge.bench_rows import rows_of
from strixfleet.speed.judge.judge_runs import Expectations, verdicts_of
from strixfleet.speed.judge.slow_causes import slower_with_draft
from strixfleet.speed.measure.answer_types import read_as
from strixfleet.speed.measure.draft import PROMPT, Draft, DraftGain, draft_request
from strixfleet.speed.measure.evidence import Evidence, Target
from strixfleet.speed.measure.host_answer import ServerUnit
from strixfleet.speed.measure.host_conditions import HostConditions
from strixfleet.speed.measure.llama_bench import BenchRow
from strixfleet.speed.measure.measure_server import Server
from strixfleet.speed.measure.remote_bench import Bench
from strixfleet.speed.measure.served import Output, Served
from strixfleet.speed.measure.served_run import ServedRun
from strixfleet.speed.measure.server_flags import ServerFlags


FAST = ServedRun(0.5, 5.5, 101, 64, 150, 75)  # 20 t/s, half of 150 accepted
PLAIN = ServedRun(0.5, 10.5, 101, 64)  # 10 t/s
DRAFT = Draft((FAST, FAST), (PLAIN, PLAIN))
GAIN = DraftGain(20.0, 10.0, "request", 0.5)


def test_gain_and_acceptance_come_from_both_ways_of_asking() -> None:
    assert DRAFT.gain(bench_tps=11.0) == GAIN
    assert GAIN.note("m") == "m: draft model: 20.0 t/s with, 10.0 without: +100 %, 50 % accepted"
    assert GAIN.to_json() == {
        "tps_with": 20.0,
        "tps_without": 10.0,
        "gain": 1.0,
        "acceptance": 0.5,
        "without_by": "request",
    }


def test_where_requests_cannot_do_without_llama_bench_gives_the_other_figure() -> None:
    found = Draft((FAST,), (FAST,)).gain(bench_tps=16.0)
    assert found == DraftGain(20.0, 16.0, "llama-bench", 0.5)
    assert "16.0 without (llama-bench): +25 %" in found.note("m")
    alone = Draft((FAST,), (FAST,)).gain(bench_tps=None)
    assert alone is not None
    assert (alone.gain, list(slower_with_draft(alone, "main"))) == (None, [])
    assert "the speed without it could not be measured" in alone.note("m")


def test_a_draft_model_that_costs_speed_is_to_be_removed() -> None:
    found = replace(GAIN, tps_with=8.0)
    assert found.note("m").endswith("-20 %, 50 % accepted; it slows decoding down: remove `draft_model`")
    (cause,) = slower_with_draft(found, "main")
    assert cause.evidence == "8.00 t/s with it, 10.00 without"
    assert cause.weight == pytest.approx(0.2)
    assert list(slower_with_draft(GAIN, "main")) == []


def test_a_server_that_shows_no_drafts_is_said_and_not_blamed() -> None:
    found = Draft((PLAIN,), (PLAIN,)).gain(bench_tps=11.0)
    assert found is not None
    assert found.acceptance is None
    assert "acceptance could not be measured" in found.note("m")
    assert "spec-type: draft-simple" in found.note("m")
    assert list(slower_with_draft(replace(found, tps_with=5.0), "main")) == []


@pytest.mark.parametrize("answer", [None, {}, {"speculating": [{}], "plain": []}])
def test_without_a_rate_there_is_no_gain(answer: Json) -> None:
    assert read_as(Served, {"draft": answer}).draft.gain(10.0) is None


# How the server is judged

ROW = BenchRow("tg128", (50.0,) * 3, "Vulkan", "Radeon (RADV GFX1151)", "cpu", "auto", -1)
EXPECTED = Expectations(Subject("b", "m.gguf", 1), Expectation(52.0, 60.0, Basis.DENSE, "sum"), LastGood())


def served_verdict(tps: float, *, draft_model: str | None, drafted: int = 0) -> Verdict:
    instance = Instance(name="main", model="m", port=8080, draft_model=draft_model)
    run = ServedRun(0.0, 127 / tps, 128, 64, drafted, drafted)
    same = Output((1,))
    served = Served(runs=(run,) * 3, outputs=(same, same), draft=DRAFT)
    evidence = Evidence(
        Target("m", ("/m.gguf",), instance), "vulkan", True, HostConditions(), rows=(ROW,), served=served
    )
    return next(one for one in verdicts_of(evidence, EXPECTED, 128) if one.test == "served tg128")


def test_speculation_may_exceed_what_one_token_a_read_allows() -> None:
    for verdict in (
        served_verdict(90.0, draft_model="d"),
        served_verdict(90.0, draft_model=None, drafted=50),
    ):
        assert (verdict.grade, verdict.ceiling_tps) == (Grade.OK, inf)
        assert verdict.floor_tps == pytest.approx(41.6)
    assert served_verdict(90.0, draft_model=None).grade is Grade.IMPOSSIBLE


def test_speculation_that_is_slower_than_the_model_alone_is_slow() -> None:
    assert served_verdict(30.0, draft_model="d").grade is Grade.SLOW


def test_without_speculation_the_roofline_judges_llama_bench() -> None:
    instance = Instance(name="main", model="m", port=8080, draft_model="d")
    target = Target("m", ("/m.gguf",), instance)
    fast = replace(ROW, samples_tps=(90.0,) * 3)
    evidence = Evidence(target, "vulkan", True, HostConditions(), rows=(fast,))
    assert verdicts_of(evidence, EXPECTED, 128)[0].grade is Grade.IMPOSSIBLE


def test_scripts_get_the_gain_in_the_servers_row() -> None:
    instance = Instance(name="main", model="m", port=8080, draft_model="d")
    target = Target("m", ("/m.gguf",), instance)
    served = Served(draft=replace(DRAFT, plain=(FAST,)))
    evidence = Evidence(target, "vulkan", True, HostConditions(), rows=(ROW,), served=served)
    (row,) = rows_of(evidence, EXPECTED, (), 128)["served"]
    assert isinstance(row, dict)
    draft = row["draft"]
    assert isinstance(draft, dict)
    assert (draft["tps_without"], draft["without_by"]) == (50.0, "llama-bench")
    (alone,) = rows_of(replace(evidence, served=Served()), EXPECTED, (), 128)["served"]
    assert alone == {"instance": "main"}


# What is asked


class Drafting(BaseHTTPRequestHandler):
    """A llama-server with a draft model; `heeds` requests that ask for none, or not."""

    heeds = True
    wishes: tuple[dict[str, Json], ...] = ()

    def log_message(self, *_given: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._send(b'{"build_info": "b1-c", "model_path": "/m.gguf"}')

    def _send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        wish = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Drafting.wishes += (wish,)
        if not wish.get("stream"):
            self._send(b'{"content": "a", "tokens": [1]}')
            return
        self.send_response(200)
        self.end_headers()
        for _ in range(4):
            self.wfile.write(b'data: {"content": "a", "stop": false}\n\n')
            time.sleep(0.002)
        off = self.heeds and wish.get("speculative.n_max") == 0
        timings = {"prompt_n": 7} | ({} if off else {"draft_n": 10, "draft_n_accepted": 4})
        end = {"stop": True, "tokens_predicted": 4, "timings": timings}
        self.wfile.write(b"data: " + json.dumps(end).encode() + b"\n\n")


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Drafting, "heeds", True)
    monkeypatch.setattr(Drafting, "wishes", ())
    with ThreadingHTTPServer(("127.0.0.1", 0), Drafting) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.shutdown()
        thread.join()


def ask(url: str) -> Served:
    host = Host("here", Connection("127.0.0.1", local=True), HostSettings())
    body: dict[str, Json] = {"prompt": "x", "n_predict": 4}
    request: dict[str, Json] = {
        "url": url,
        "pid": 0,
        "body": body,
        "repetitions": 2,
        "repeat_tokens": 1,
        "draft": draft_request(4),
    }
    return Bench(host, remote_for(host, "")).served(request, 20)


def test_a_server_that_heeds_is_measured_both_ways(url: str) -> None:
    served = ask(url)
    assert served.drafted
    assert (len(served.draft.speculating), len(served.draft.plain)) == (2, 2)
    assert served.draft.can_be_switched_off
    assert served.draft.acceptance == pytest.approx(0.4)
    prompts = [wish["prompt"] for wish in Drafting.wishes]
    assert prompts.count(PROMPT) == 4


def test_a_server_that_does_not_heed_is_asked_once(url: str) -> None:
    Drafting.heeds = False
    draft = ask(url).draft
    assert (len(draft.plain), draft.can_be_switched_off) == (1, False)


@pytest.mark.parametrize(("draft_model", "asked"), [("d", True), (None, False)])
def test_only_instances_with_a_draft_model_are_asked(draft_model: str | None, asked: bool) -> None:
    class Heard(Bench):
        """Keeps what it is asked."""

        request: dict[str, Json]

        def served(self, request: object, timeout_s: int) -> Served:
            assert timeout_s > 60
            assert isinstance(request, dict)
            self.request = request
            return Served()

    host = Host("here", Connection("127.0.0.1", local=True), HostSettings())
    bench = Heard(host, remote_for(host, ""))
    instance = Instance(name="main", model="m", port=8080, draft_model=draft_model)
    server = Server(Target("m", ("/m.gguf",), instance), ServerUnit("active"), ServerFlags((), {}))
    server.served(bench, SmokeBench())
    assert bool(bench.request["draft"]) is asked
    assert bench.request["planted"]
