"""`have` is what was read: the kernel's release, versions, bytes, states; never what is wanted."""

import json
import re
from collections.abc import Iterator

import pytest

from strixfleet.managed.things.thing import Thing
from strixfleet.on_host.questions import Answer, Answers, Ask, Json, Question
from tests.unit.managed.hosts import NAMES, changed, healthy, said


# Rows of a host in order in which nothing was read, and why that is right.
NOTHING_THERE = {
    "gpu_stack:mes_firmware": "debugfs is not mounted",
    "tailscale:key_expiry": "the key does not expire",
    "llama_server:/etc/ld.so.preload": "a file where none should be",
    "llama_cpp:/opt/strixfleet/lib/strixfleet/host": "a path where nothing may be",
}
MAY_BE_ABSENT = {"gpu_stack:/etc/apt/sources.list.d/strixfleet.sources"}  # where the host's own sources do
# Values that no single other answer changes; the cases of their aspects show them change.
NOT_BY_ONE_ANSWER = {
    "kernel:hardware_profile",  # recognised before things are made
    "gpu_stack:distribution.system",  # likewise
    "gpu_stack:/etc/apt/sources.list.d/strixfleet-tailscale.sources",  # only where apt refuses its sources
    "gpu_stack:mes_firmware",  # nothing to read here: below
    "tailscale:key_expiry",  # likewise
    "kernel:amdgpu.gttsize.configured",  # stands nowhere here
    "kernel:amdgpu.gttsize.running",  # likewise
    "kernel:ttm.pages_limit.parameter",  # sysfs and modinfo both say so
}


@pytest.mark.parametrize("name", NAMES)
def test_every_row_shows_something_that_was_read(name: str) -> None:
    rows = healthy(name).state.differences(healthy(name).answers)
    empty = {row.id for row in rows if row.have is None}
    assert empty - MAY_BE_ABSENT == set(NOTHING_THERE)


@pytest.mark.parametrize("name", NAMES)
def test_another_answer_is_another_have(name: str) -> None:
    """No value that a row shows is an echo of what is wanted: each one changes with what the host says."""
    case = healthy(name)
    answers, fixed = case.answers, []
    for thing in (one for rows in case.state.things.values() for one in rows):
        have = thing.read(answers).value
        seen = [thing.read(other).value for other in others(thing, answers)]
        if isinstance(have, dict) and have:
            maps = [other for other in seen if isinstance(other, dict)]
            held = [key for key in have if all(other.get(key) == have[key] for other in maps)]
            fixed += [f"{thing.id}.{key}" for key in held]
        elif all(other == have for other in seen):
            fixed.append(thing.id)
    assert set(fixed) == NOT_BY_ONE_ANSWER


def others(thing: Thing, answers: Answers) -> Iterator[Answers]:
    """Return the answers with one of those that a thing asks for changed."""
    known = {one: answers[one] for one in answers}
    for question in thing.asks():
        for value in variants(answers[question].value):
            yield Answers({**known, question: Answer(value)})


def variants(value: Json) -> Iterator[Json]:
    """Return values that differ from one: at one place, or as a whole."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from ({**value, key: other} for other in variants(part))
        yield {**value, "/etc/vulkan/icd.d/amd_icd64.json": "x"}
    if isinstance(value, bool):
        yield not value
    if isinstance(value, list):
        yield from ([*value, ".left"], [*value, "other"], value[1:])
    if isinstance(value, str):
        yield from text_variants(value)
    wholes: tuple[Json, ...] = ("other", None, 7, {"LoadState": "loaded", "ActiveState": "active"})
    yield from wholes


def text_variants(text: str) -> Iterator[str]:
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if isinstance(document, dict):
        yield from (json.dumps(one) for one in variants(document) if isinstance(one, dict))
    for number in set(re.findall(r"\d+", text)):
        yield text.replace(number, str(int(number) + 1))
    yield text + " extra=1\n"


def raw(name: str, verb: Ask, subject: str) -> Json:
    return healthy(name).recorded[Question(verb, subject)].value


@pytest.mark.parametrize("name", NAMES)
def test_release_versions_bytes_and_digests_are_the_host_s_own_words(name: str) -> None:
    rows = healthy(name).rows()

    kernel = rows["gpu_stack:kernel"]["have"]
    assert isinstance(kernel, dict)
    assert kernel["running"] == str(raw(name, Ask.READ, "/proc/sys/kernel/osrelease")).strip()
    gtt = rows["kernel:gtt_total"]["have"]
    assert isinstance(gtt, dict)
    assert gtt["bytes"] == 128849018880
    assert rows["kernel:carve_out"]["have"] == 536870912
    for package in (
        "gpu_stack:mesa-vulkan-drivers",
        "tuning:tuned",
        "llama_models:curl",
        "tailscale:tailscale",
    ):
        assert rows[package]["have"] == raw(name, Ask.PACKAGE, package.partition(":")[2])
    for key, row in rows.items():
        question = Question(Ask.DIGEST, key.partition(":")[2])
        recorded = healthy(name).recorded.get(question)
        if recorded and isinstance(row["have"], dict) and "sha256" in row["have"]:
            assert row["have"] == recorded.value


def test_what_is_there_only_at_times_is_read_then() -> None:
    case = healthy()
    info = "/sys/kernel/debug/dri/*/amdgpu_firmware_info"
    text = "MES feature version: 1, firmware version: 0x00000086\n"
    status = json.loads(str(raw("debian_13", Ask.RUN, "tailscale")))
    status["Self"]["KeyExpiry"] = "2026-12-31T00:00:00Z"
    rows = changed(
        case,
        said(Ask.GLOB, info, {info.replace("*", "1"): text})
        | said(Ask.RUN, "tailscale", json.dumps(status))
        | said(Ask.RUN, "clock", "1795225000\n"),
    ).rows()
    assert rows["gpu_stack:mes_firmware"]["have"] == "0x86"
    assert rows["tailscale:key_expiry"]["have"] == 39
