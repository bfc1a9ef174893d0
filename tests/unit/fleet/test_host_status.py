"""What a host runs, from one round of answers."""

import json

from strixfleet.findings.last_good import LastGood, Subject
from strixfleet.findings.verdict import Grade, Verdict
from strixfleet.fleet.host_status import CURRENT, LAST_GOOD, MANIFEST, needs_attention, questions, status_of
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.on_host.questions import Answer, Answers, Ask, Json, Question


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


def test_a_server_that_loads_or_is_down_needs_attention() -> None:
    for status, word in ((503, "loading"), (0, "no answer"), (500, "status 500")):
        health: dict[str, Json] = {"http://127.0.0.1:8080/health": {"status": status, "body": None}}
        row = status_of(HOST, answers(**health))
        assert isinstance(instances := row["instances"], list)
        assert isinstance(instance := instances[0], dict)
        assert instance["health"] == word
        assert needs_attention(row)


def test_a_server_that_did_not_stay_up_needs_attention_however_healthy_it_is() -> None:
    unit: dict[str, Json] = {"llama-server@main.service": {"ActiveState": "active", "NRestarts": "41"}}
    row = status_of(HOST, answers(**unit))
    assert needs_attention(row)


def test_a_bare_host_needs_attention_and_says_so_with_nulls() -> None:
    row = status_of(HOST, Answers({}))
    assert (row["build"], row["commit"]) == (None, None)
    assert needs_attention(row)
