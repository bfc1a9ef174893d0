"""What a host runs, from one round of answers."""

import json
from dataclasses import replace

import pytest

from strixfleet.findings.last_good import LastGood, Subject
from strixfleet.findings.verdict import Grade, Verdict
from strixfleet.fleet.host_status import LAST_GOOD, is_measured, needs_attention, questions, status_of
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.llama_cpp.build import CURRENT, MANIFEST
from strixfleet.managed.llama_server.loading import CLOCK, UPTIME
from strixfleet.on_host.questions import Answer, Answers, Ask, Json, Question
from strixfleet.speed.measure.evidence import targets_of


BUILD = "v0.3.36-cpu-00000000"
HOST = Host(
    "h1",
    Connection("127.0.0.1"),
    HostSettings.model_validate(
        {
            "llama_cpp_ref": "v0.3.36",
            "llama_models": [{"name": "m", "host_path": "/m.gguf", "sha256": "0" * 64}],
            "llama_server_instances": [{"name": "main", "model": "m", "port": 8080}],
        }
    ),
)


def answers(**changed: Json) -> Answers:
    good = Verdict("main", "m", "cpu", "CPU", "tg128", 42.0, None, None, None, Grade.OK, "")
    kept = LastGood().with_runs(Subject(BUILD, "m.gguf", 1000), [good], "2026-11-21T00:00:00+00:00")
    manifest = {"id": BUILD, "ref": "v0.3.36", "commit": "c" * 40, "backend": "cpu", "build_number": 2}
    rows: dict[Question, Json] = {
        CURRENT: BUILD,
        MANIFEST: json.dumps({**manifest, "definitions": {}, "files": {"bin/llama-server": "x"}}),
        LAST_GOOD: json.dumps(kept.to_json()),
        Question(Ask.STAT, "/m.gguf"): {"size_bytes": 1000},
        Question(Ask.UNIT, "llama-server@main.service"): {"ActiveState": "active", "NRestarts": "0"},
        UPTIME: "100000.0 1.0",
        CLOCK: "1795225000",
        Question(Ask.HTTP, "http://127.0.0.1:8080/health"): {"status": 200, "body": {"status": "ok"}},
        Question(Ask.HTTP, "http://127.0.0.1:8080/props"): {"status": 200, "body": {"build_info": "b2-cc"}},
    }
    for question in rows:
        if question.subject in changed:
            rows[question] = changed[question.subject]
    return Answers({question: Answer(value) for question, value in rows.items()})


def test_every_answer_is_asked_for() -> None:
    assert set(answers()) <= set(questions(HOST))


def test_a_healthy_host() -> None:
    row = status_of(HOST, answers())
    assert (row["build"], row["ref"], row["backend"]) == (BUILD, "v0.3.36", "cpu")
    assert row["instances"] == [
        {
            "name": "main",
            "state": "active",
            "health": "ok",
            "loading": None,
            "model": "m",
            "model_path": None,
            "build_info": "b2-cc",
            "address": "127.0.0.1:8080",
            "restarts": 0,
            "last_tps": 42.0,
        }
    ]
    assert row["models"] == [{"name": "m", "present": True, "size_bytes": 1000}]
    assert not needs_attention(row)


def instance_of(row: dict[str, Json]) -> dict[str, Json]:
    instances = row["instances"]
    assert isinstance(instances, list)
    instance = instances[0]
    assert isinstance(instance, dict)
    return instance


def test_a_server_that_is_down_needs_attention() -> None:
    for status, word in ((503, "status 503"), (0, "no answer"), (500, "status 500")):
        health: dict[str, Json] = {"http://127.0.0.1:8080/health": {"status": status, "body": None}}
        row = status_of(HOST, answers(**health))
        assert instance_of(row)["health"] == word
        assert needs_attention(row)


@pytest.mark.parametrize(
    ("uptime", "size_bytes", "health", "attention"),
    [
        ("140.0", 1000, "loading", False),
        ("170.0", 1000, "status 503", True),
        ("1000.0", 100_000_000_000, "loading", False),
        ("1170.0", 100_000_000_000, "status 503", True),
    ],
)
def test_a_server_may_load_for_as_long_as_its_size_allows(
    uptime: str, size_bytes: int, health: str, attention: bool
) -> None:
    rows: dict[str, Json] = {
        "http://127.0.0.1:8080/health": {"status": 503, "body": None},
        "llama-server@main.service": {
            "ActiveState": "active",
            "ActiveEnterTimestampMonotonic": "100000000",
        },
        "/m.gguf": {"size_bytes": size_bytes},
        "/proc/uptime": f"{uptime} 1.0",
        "clock": "1795225000",
    }
    row = status_of(HOST, answers(**rows))
    assert instance_of(row)["health"] == health
    assert str(instance_of(row)["loading"]).startswith("loading since" if not attention else "has not loaded")
    assert needs_attention(row) == attention


def test_a_server_that_did_not_stay_up_needs_attention_however_healthy_it_is() -> None:
    unit: dict[str, Json] = {"llama-server@main.service": {"ActiveState": "active", "NRestarts": "41"}}
    row = status_of(HOST, answers(**unit))
    assert needs_attention(row)


def test_a_bare_host_needs_attention_and_says_so_with_nulls() -> None:
    row = status_of(HOST, Answers({}))
    assert (row["build"], row["commit"]) == (None, None)
    assert needs_attention(row)


@pytest.mark.parametrize("argument", ["embeddings", "reranking"])
def test_a_box_that_only_embeds_has_no_speed_to_prove(argument: str) -> None:
    instance = {"name": "main", "model": "m", "port": 8080, "arguments": {argument: None}}
    settings = HOST.settings.model_dump() | {"llama_server_instances": [instance]}
    host = replace(HOST, settings=HostSettings.model_validate(settings))
    unmeasured = {LAST_GOOD.subject: None}
    assert not is_measured(HOST, answers(**unmeasured))
    assert is_measured(host, answers(**unmeasured))
    assert targets_of(host) == targets_of(host, everything=True) == ()
