"""Whatever a host answers, it is judged and never a traceback; and what was not read is never ok."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from strixfleet.findings.items import Status
from strixfleet.fleet.handed_state import state_for_roles
from strixfleet.managed.compiled import things_of
from strixfleet.managed.machine import Machine
from strixfleet.managed.platforms.apt_sources import OUR_TAILSCALE
from strixfleet.on_host.questions import Answer, Answers, Ask, Json, Question
from tests.cases.aspect_cases import Case
from tests.unit.managed.hosts import NAMES, asked_of, changed, healthy, with_answer


DEEP = "[" * 100_000  # more than the reader of JSON can go into
LONG = "9" * 5_000  # more digits than Python makes a number of
TEXTS = st.sampled_from(["", "²", LONG, DEEP, "{}", "a\tb", "=", "\0", "null", "0"]) | st.text(max_size=20)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | TEXTS
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def garbled(draw: st.DrawFn, value: Json) -> Json:
    """Return a value of which one part, at any depth, is anything."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(value)))
        changed_map: Json = {**value, key: draw(garbled(value[key]))}
        return changed_map
    if isinstance(value, list) and value and draw(st.booleans()):
        place = draw(st.integers(0, len(value) - 1))
        changed_list: Json = [*value[:place], draw(garbled(value[place])), *value[place + 1 :]]
        return changed_list
    if isinstance(value, str) and draw(st.booleans()):
        return str(draw(_garbled_text(value)))
    anything: Json = draw(VALUES)
    return anything


@st.composite
def _garbled_text(draw: st.DrawFn, text: str) -> str:
    try:
        document: Json = json.loads(text)
    except ValueError:
        document = None
    if isinstance(document, dict):
        return json.dumps(draw(garbled(document)))
    start, end = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
    return text[:start] + draw(TEXTS) + text[end:]


@st.composite
def hosts(draw: st.DrawFn) -> Case:
    """Return a host of which one to three answers are garbled or unread."""
    case = healthy(draw(st.sampled_from(NAMES)))
    asked = asked_of()
    found = {}
    for question in draw(st.lists(st.sampled_from(asked), min_size=1, max_size=3)):
        errors = TEXTS.map(lambda text: Answer(error=text))
        found[question] = draw(garbled(case.recorded[question].value).map(Answer) | errors)
    return changed(case, found)


def judge(case: Case) -> None:
    """Do all that is done with the answers of a host."""
    state, answers = case.state, case.answers
    rows = state.differences(answers)
    found = state_for_roles(state, answers, rows, None)
    json.dumps([found, [row.to_json() for row in rows]])


def judged(verb: Ask, subject: str, value: Json) -> Case:
    return changed(healthy(), {Question(verb, subject): Answer(value)})


CURRENT = "/opt/strixfleet/llama.cpp/current"
CARD = "/sys/class/drm/card1/device/mem_info_gtt_total"
STATUS = {"BackendState": "Running", "Self": {"KeyExpiry": "0001-01-01T00:00:00"}}


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@given(hosts())
@example(judged(Ask.RUN, "apt_targets", "a line without fields"))
@example(judged(Ask.RUN, "apt_targets", "http://m/\ttrixie\tmain\t/etc/apt/sources.list:x"))
@example(judged(Ask.READ, "/boot/grub/grub.cfg", "submenu 'a' {\n}\n}"))
@example(judged(Ask.READ, "/boot/grub/grub.cfg", f"set default={LONG}>{LONG}\nmenuentry {{"))
@example(judged(Ask.RUN, "grub_settings", "always="))
@example(judged(Ask.GLOB, "/etc/modprobe.d/*.conf", {"/etc/modprobe.d/a.conf": "options\\\noptions ttm \\"}))
@example(judged(Ask.GLOB, "/sys/class/drm/card*/device/mem_info_gtt_total", {CARD: "²"}))
@example(judged(Ask.GLOB, "/sys/class/drm/card*/device/mem_info_gtt_total", {CARD: LONG}))
@example(judged(Ask.GLOB, "/sys/class/drm/card*/device/device", {"/sys/class/drm/card1/device/device": "x"}))
@example(judged(Ask.READ, "/proc/meminfo", f"MemTotal: {LONG} kB"))
@example(judged(Ask.READ, "/proc/sys/kernel/osrelease", LONG))
@example(judged(Ask.PACKAGE, "mesa-vulkan-drivers", LONG))
@example(judged(Ask.READ, f"{CURRENT}/manifest.json", DEEP))
@example(judged(Ask.READ, "/etc/strixfleet/applied.json", DEEP))
@example(judged(Ask.RUN, "tailscale", DEEP))
@example(judged(Ask.RUN, "tailscale", json.dumps(STATUS)))
def test_a_garbled_host_is_judged(case: Case) -> None:
    judge(case)


def test_a_build_for_a_backend_that_nobody_knows_is_judged() -> None:
    question = Question(Ask.READ, f"{CURRENT}/manifest.json")
    manifest = json.loads(str(healthy().recorded[question].value))
    judge(changed(healthy(), {question: Answer(json.dumps({**manifest, "backend": "cuda"}))}))


@pytest.mark.parametrize("address", ["100.64.0.7\nExecStart=/bin/sh", "fd7a::1", "", "::ffff:1.2.3.4"])
def test_what_is_no_ipv4_address_is_not_taken_for_one(address: str) -> None:
    status = json.dumps({"Self": {"TailscaleIPs": [address]}})
    state, _answers = with_answer("debian_13", Question(Ask.RUN, "tailscale"), Answer(status))
    assert state.machine.tailnet_address is None


@given(
    st.builds(
        Machine,
        profile=st.none() | st.text(max_size=5),
        gtt_gib=st.none() | st.integers(0, 2**20),
        reserve_gib=st.integers(0, 2**20),
        os_id=st.sampled_from(["", "debian", "ubuntu"]) | st.text(max_size=5),
        os_version=st.sampled_from(["", "13", "24.04", "26.04"]) | st.text(max_size=5),
        os_codename=st.text(max_size=5),
        kernel_line=st.sampled_from(["", "6.12", "6.18"]) | st.text(max_size=5),
        visible_gib=st.integers(0, 2**20),
        carve_out_gib=st.integers(0, 2**20),
        physical_cores=st.integers(0, 2**10),
        simulated=st.none() | st.text(max_size=5),
        serving_backend=st.sampled_from([None, "vulkan", "rocm", "cpu", "cuda"]),
        one_address=st.booleans(),
        tailnet_address=st.sampled_from([None, "100.64.0.7"]),
        card=st.sampled_from(["", "/sys/class/drm/card1/device"]),
    )
)
def test_every_machine_has_things_each_with_an_id_of_its_own(machine: Machine) -> None:
    case, nothing = healthy(), Answers({})
    aspects = things_of(case.host.settings, machine)
    things = [thing for rows in aspects.values() for thing in rows]
    ids = [thing.id for thing in things]
    assert len(ids) == len(set(ids))
    assert all(thing.id.startswith(f"{name}:") for name, rows in aspects.items() for thing in rows)
    for thing in things:
        json.dumps([thing.stated, list(map(str, thing.deeds(nothing))), thing.compare(nothing).to_json()])


# Questions without whose answer a thing is right all the same; all others make it unknown.
NOT_NEEDED = {
    # apt accepts its sources, so no file of ours contradicts another
    ("glob /etc/apt/sources.list.d/*.list", f"gpu_stack:{OUR_TAILSCALE}"),
    (
        "glob /etc/apt/sources.list.d/*.sources",
        f"gpu_stack:{OUR_TAILSCALE}",
    ),
    ("read /etc/apt/sources.list", f"gpu_stack:{OUR_TAILSCALE}"),
    # the package of the kernel is installed, so it is held whatever else is there
    ("glob /sys/class/kfd/kfd/topology/nodes/*/properties", "gpu_stack:held"),
    ("names /boot", "gpu_stack:held"),
    ("read /proc/sys/kernel/osrelease", "gpu_stack:held"),
    # asked for the deeds and the explanation alone
    ("package linux-image-amd64", "gpu_stack:kernel"),
    ("package linux-generic-hwe-24.04", "gpu_stack:kernel"),
    ("package tailscale", "tailscale:state"),
    *(
        (words, f"kernel:{name}")
        for words in ("read /etc/default/grub", "glob /etc/default/grub.d/*.cfg", "run grub_settings")
        for name in ("ttm.pages_limit", "amdgpu.gttsize", "gtt_total")
    ),
    ("read /opt/strixfleet/llama.cpp/current/manifest.json", "llama_cpp:current"),
    ("tree /opt/strixfleet/llama.cpp/current", "llama_cpp:current"),
    ("space /opt/strixfleet/llama.cpp", "llama_cpp:current"),
    ("space /var/lib/strixfleet", "llama_cpp:current"),
    # sysfs shows the parameter, so the kernel knows it
    ("parameters ttm", "kernel:ttm.pages_limit"),
    # the backend is not ROCm
    ("names /opt/rocm", "gpu_stack:distribution"),
    # there is no previous build whose manifest could be read, no key that expires
    ("read /opt/strixfleet/llama.cpp/previous/manifest.json", "llama_cpp:previous"),
    ("run clock", "tailscale:key_expiry"),
    # the tags stand in another answer
    ("run tailscale_prefs", "tailscale:tags"),
}


@pytest.mark.parametrize("name", NAMES)
def test_what_could_not_be_read_is_unknown(name: str) -> None:
    """Each thing is unknown without an answer that it asks for, and shows nothing in its place."""
    wrong = []
    for question in asked_of(name):
        state, answers = with_answer(name, question, Answer(error="garbled"))
        for thing in (one for rows in state.things.values() for one in rows if question in one.asks()):
            row, words = thing.compare(answers), f"{question.verb} {question.subject}"
            if (words, thing.id) in NOT_NEEDED:
                right = row.status is Status.OK
            else:
                right = row.status is Status.UNKNOWN and row.have is None
            if not right:
                wrong.append((words, row))
    assert wrong == []
