"""What a host runs now: builds, instances, their health and last speed, from one round of answers."""

from collections.abc import Iterator, Mapping

from strixfleet.findings.last_good import LastGood, Subject
from strixfleet.findings.runs import maps_in
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.inventory.schema.parts import Instance
from strixfleet.managed.llama_cpp.build import BUILDS, CURRENT, MANIFEST, current_build, parse_manifest
from strixfleet.managed.llama_models.model_store import StoredFile, catalogue
from strixfleet.managed.llama_server.loading import CLOCK, UPTIME, Loading, loading_of
from strixfleet.managed.llama_server.server_command import listening
from strixfleet.managed.llama_server.server_files import GENERATES, files_of, probe_of
from strixfleet.managed.llama_server.server_unit import http_questions, unit_name
from strixfleet.on_host import json_text
from strixfleet.on_host.questions import Answers, Ask, Json, Question


LAST_GOOD = Question(Ask.READ, "/var/lib/strixfleet/last-good.json")
PREVIOUS = Question(Ask.LINK, f"{BUILDS}/previous")
SIMULATED = Question(Ask.RUN, "simulated")
_HEALTHY = 200
_UP = {"ok", "loading"}


def questions(host: Host) -> Iterator[Question]:
    """Ask what is installed and what runs."""
    yield from (LAST_GOOD, CURRENT, PREVIOUS, MANIFEST, SIMULATED, UPTIME, CLOCK)
    for files in catalogue(host.settings.llama_models).values():
        yield from (Question(Ask.STAT, file.path) for file in files)
    for instance in host.settings.llama_server_instances:
        yield Question(Ask.UNIT, unit_name(instance.name))
        yield from _http(instance)


def _http(instance: Instance) -> tuple[Question, Question]:
    return http_questions(instance.name, listening(instance).url, has_key=instance.api_key is not None)


def status_of(host: Host, answers: Answers) -> dict[str, Json]:
    """Return the rows of one host."""
    settings = host.settings
    manifest = parse_manifest(answers.text(Ask.READ, MANIFEST.subject))
    last_good = LastGood.from_json(_json(answers.text(Ask.READ, LAST_GOOD.subject)))
    build = current_build(answers)
    models = catalogue(settings.llama_models)
    return {
        "build": build,
        "previous": _name(answers[PREVIOUS].value),
        "ref": manifest.ref if manifest else None,
        "commit": manifest.commit if manifest else None,
        "backend": manifest.backend if manifest else None,
        "pin": settings.llama_cpp_ref,
        "models": [_model(name, files, answers) for name, files in models.items()],
        "instances": [
            _instance(
                one,
                files_of(one, models),
                answers,
                _subject(build or "", models[one.model], answers),
                last_good,
            )
            for one in settings.llama_server_instances
        ],
    }


def is_measured(host: Host, answers: Answers) -> bool:
    """Tell whether the first server that generates text has a last good speed under the current build."""
    rows = maps_in(status_of(host, answers)["instances"])
    generating = {one.name for one in host.settings.llama_server_instances if probe_of(one) == GENERATES}
    speeds = [row["last_tps"] for row in rows if row["name"] in generating]
    return all(speed is not None for speed in speeds[:1])


def needs_attention(row: Mapping[str, Json]) -> bool:
    """Tell whether something is not up, or did not stay up; a server that loads within its time is up."""
    rows = maps_in(row.get("instances"))
    return row.get("build") is None or any(
        one.get("health") not in _UP or bool(one.get("restarts")) for one in rows
    )


def _json(text: str | None) -> Json:
    try:
        value: Json = json_text.parsed(text or "null")
    except ValueError:
        return None
    return value


def _name(target: Json) -> str | None:
    return target.rstrip("/").rpartition("/")[2] if isinstance(target, str) else None


def _size_bytes(file: StoredFile, answers: Answers) -> int | None:
    value = answers[Question(Ask.STAT, file.path)].value
    size = value.get("size_bytes") if isinstance(value, dict) else None
    return size if isinstance(size, int) else None


def _model(name: str, files: tuple[StoredFile, ...], answers: Answers) -> dict[str, Json]:
    sizes = [_size_bytes(file, answers) for file in files]
    known = [size for size in sizes if size is not None]
    return {"name": name, "present": len(known) == len(sizes), "size_bytes": sum(known)}


def _subject(build: str, files: tuple[StoredFile, ...], answers: Answers) -> Subject:
    sizes = (_size_bytes(file, answers) or 0 for file in files)
    return Subject(build, files[0].path.rpartition("/")[2], sum(sizes))


def _instance(
    instance: Instance,
    files: tuple[StoredFile, ...],
    answers: Answers,
    subject: Subject,
    last_good: LastGood,
) -> dict[str, Json]:
    unit = answers[Question(Ask.UNIT, unit_name(instance.name))].value
    shown = unit if isinstance(unit, dict) else {}
    health, props = (answers[question].value for question in _http(instance))
    loads = loading_of(shown, health, [file.path for file in files], answers)
    body = props.get("body") if isinstance(props, dict) else None
    said = body if isinstance(body, dict) else {}
    decoded = [
        last_good.speed_tps(subject, test) for test in last_good.tests(subject) if test.startswith("tg")
    ]
    return {
        "name": instance.name,
        "state": shown.get("ActiveState") or "absent",
        "health": _health(health, loads),
        "loading": loads.words if loads else None,
        "model": instance.model,
        "model_path": said.get("model_path"),
        "build_info": said.get("build_info"),
        "address": listening(instance).url.removeprefix("http://"),
        "restarts": _count(shown.get("NRestarts")),
        "last_tps": decoded[0] if decoded else None,
    }


def _count(value: Json) -> int:
    return int(value) if isinstance(value, str) and value.isdigit() else 0


def _health(answer: Json, loads: Loading | None) -> str:
    status = answer.get("status") if isinstance(answer, dict) else None
    if status == _HEALTHY:
        return "ok"
    if loads and loads.in_time:
        return "loading"
    return f"status {status}" if status else "no answer"
