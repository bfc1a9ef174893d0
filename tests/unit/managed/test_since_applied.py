"""The digest covers desired state alone: it tells an inventory that moved on from a host that changed."""

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strixfleet.managed.facts import APPLIED
from strixfleet.managed.machine import Applied, Machine
from strixfleet.on_host.questions import Answer, Ask, Json, Question
from strixfleet.on_host.switch.option_aliases import ONE_HOST
from tests.cases.aspect_cases import Case
from tests.unit.managed.hosts import NAMES, changed, healthy, said


MANIFEST = Question(Ask.READ, "/opt/strixfleet/llama.cpp/current/manifest.json")
STATUS = Question(Ask.RUN, "tailscale")
OPTIONS = "/opt/strixfleet/llama.cpp/current/options"
FIRMWARE_INFO = "/sys/kernel/debug/dri/*/amdgpu_firmware_info"
DRM = "/sys/class/drm/card*/device"
RIVAL: dict[str, Json] = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"}


def document(case: Case, question: Question) -> dict[str, Any]:
    return dict(json.loads(str(case.recorded[question].value)))


def another_build(backend: str) -> dict[Question, Answer]:
    manifest = document(healthy(), MANIFEST) | {"id": f"b2-{backend}-00000000", "backend": backend}
    link = said(Ask.LINK, "/opt/strixfleet/llama.cpp/current", str(manifest["id"]))
    return link | {MANIFEST: Answer(json.dumps(manifest))}


def on_tailnet(*addresses: str) -> dict[Question, Answer]:
    status = document(healthy(), STATUS)
    own = status["Self"] | {"TailscaleIPs": [*addresses]}
    return {STATUS: Answer(json.dumps(status | {"Self": own}))}


CARD = DRM.replace("*", "1")
CARVED = f"{CARD}/mem_info_vram_total"
HOST_CHANGES: dict[str, dict[Question, Answer]] = {
    "larger carve-out": said(Ask.GLOB, f"{DRM}/mem_info_vram_total", {CARVED: str(96 << 30)})
    | said(Ask.READ, "/proc/meminfo", f"MemTotal: {31 << 20} kB"),
    "debugfs readable": said(
        Ask.GLOB,
        FIRMWARE_INFO,
        {FIRMWARE_INFO.replace("*", "0"): "MES feature version: 1, firmware version: 0x80"},
    ),
    "a rival power driver": said(Ask.UNIT, "tlp.service", RIVAL),
    "another kernel in /boot": said(Ask.NAMES, "/boot", ["vmlinuz-6.12.1-amd64", "initrd.img-6.12.1-amd64"]),
    "a newer kernel in /boot": said(Ask.NAMES, "/boot", ["vmlinuz-9.1.0-amd64", "initrd.img-9.1.0-amd64"]),
    "another release runs": said(Ask.READ, "/proc/sys/kernel/osrelease", "6.12.1-amd64"),
    "another current build": another_build("vulkan"),
    "a current build for the CPU": another_build("cpu"),
    "another tailnet address": on_tailnet("100.64.0.9"),
    "no tailnet address": on_tailnet(),
    "a build that takes one address": said(Ask.READ, OPTIONS, ONE_HOST),
    "an eGPU": said(Ask.GLOB, f"{DRM}/vendor", {CARD.replace("1", n) + "/vendor": "0x1002" for n in "01"})
    | said(
        Ask.GLOB,
        f"{DRM}/device",
        {CARD.replace("1", "0") + "/device": "0x745e", f"{CARD}/device": "0x1586"},
    ),
    "fewer cores": said(Ask.READ, "/proc/cpuinfo", "processor : 0\n"),
}
# One instance on the tailnet: what a server listens on depends on the address.
TAILNET: dict[str, Json] = {
    "llama_server_instances": [{"name": "chat", "model": "small", "port": 8080, "host": "tailnet"}]
}


def recording(recorded: Json) -> dict[Question, Answer]:
    """Return what a host holds after `recorded` was written down on it."""
    return said(Ask.READ, APPLIED, recorded if isinstance(recorded, str) else json.dumps(recorded))


def asked_for(case: Case) -> Case:
    """Answer what the settings above ask and the recorded host was not asked."""
    health = Question(Ask.HTTP, "http://127.0.0.1:8080/props")
    return changed(case, {health: Answer({"status": 200, "body": {}})})


@pytest.mark.parametrize("settings", [{}, TAILNET], ids=["loopback", "tailnet"])
@pytest.mark.parametrize("change", HOST_CHANGES)
def test_a_host_that_changed_is_not_stale(change: str, settings: dict[str, Json]) -> None:
    case = asked_for(changed(healthy(), settings=settings))
    applied = recording(case.state.recorded)

    after = changed(case, applied | HOST_CHANGES[change])

    assert changed(case, applied).state.since_applied == "same"
    assert after.state.since_applied == "same"


@pytest.mark.parametrize("change", ["larger carve-out", "a current build for the CPU", "no tailnet address"])
def test_what_such_a_change_leads_to_is_another_digest(change: str) -> None:
    """Without the recorded machine these would count as stale: the test above says something."""
    case = asked_for(changed(healthy(), settings=TAILNET))
    assert changed(case, HOST_CHANGES[change]).state.digest != case.state.digest


INVENTORY_CHANGES: dict[str, dict[str, Json]] = {
    "an argument": {"kernel_arguments": {"quiet": None}},
    "another pin": {"llama_cpp_ref": "b10992"},
    "tuned off": {"tuning_enabled": False},
    "no holds": {"gpu_stack_hold_packages": False},
    "a firmware floor": {"gpu_stack_firmware_floor": "20260201"},
    "another name": {"tailscale_hostname": "halo-2"},
    "another GTT size": {"kernel_gtt_gib": 96},
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", INVENTORY_CHANGES)
@pytest.mark.parametrize("host_change", [None, "larger carve-out", "a current build for the CPU"])
def test_an_inventory_that_moved_on_is_stale_whatever_the_host_did(
    name: str, change: str, host_change: str | None
) -> None:
    case = healthy(name)
    applied = recording(case.state.recorded) | HOST_CHANGES.get(host_change or "", {})
    assert changed(case, applied, INVENTORY_CHANGES[change]).state.since_applied == "stale"


def test_a_new_api_key_is_stale() -> None:
    case = healthy()
    instances = [dict(one) for one in case.settings["llama_server_instances"]]  # type: ignore[union-attr, arg-type]
    instances[0]["api_key"] = "another-canary-1"
    applied = recording(case.state.recorded)
    assert changed(case, applied, {"llama_server_instances": [*instances]}).state.since_applied == "stale"


DIGEST = "0" * 64
UNREADABLE = ("", "{", "null", "[]", "7", '"x"', "{}", '{"digest": 7}', '{"digest": null}', "[" * 99_999)
WITH_MORE = Machine().to_json() | {"colour": "red"}
FOREIGN_MACHINES: tuple[Json, ...] = (None, 7, "x", [], {}, {"os_id": "debian"}, WITH_MORE)


@pytest.mark.parametrize("text", UNREADABLE, ids=range(len(UNREADABLE)))
def test_what_is_damaged_counts_as_never_recording(text: str) -> None:
    assert changed(healthy(), recording(text)).state.since_applied == "never"


def test_a_host_without_a_record_was_never_recording() -> None:
    assert healthy().state.since_applied == "never"


@pytest.mark.parametrize("more", [{}, *({"machine": one} for one in FOREIGN_MACHINES)])
def test_a_record_of_another_version_is_stale(more: dict[str, Json]) -> None:
    case = changed(healthy(), recording({"digest": DIGEST, "at": "2026-11-01", **more}))
    assert case.state.since_applied == "stale"


WORDS = st.text(max_size=10)
NUMBERS = st.integers(-(2**40), 2**40)
MACHINES = st.builds(
    Machine,
    profile=st.none() | WORDS,
    gfx=st.none() | WORDS,
    gtt_gib=st.none() | NUMBERS,
    reserve_gib=NUMBERS,
    os_id=WORDS,
    os_version=WORDS,
    os_codename=WORDS,
    kernel_line=WORDS,
    visible_gib=NUMBERS,
    carve_out_gib=NUMBERS,
    physical_cores=NUMBERS,
    simulated=st.none() | WORDS,
    serving_backend=st.none() | WORDS,
    one_address=st.booleans(),
    tailnet_address=st.none() | WORDS,
    card=WORDS,
    reason=WORDS,
    tailscale_key=WORDS,
)


@given(MACHINES)
def test_a_machine_is_read_as_it_was_recorded(machine: Machine) -> None:
    recorded = json.loads(json.dumps(machine.to_json()))
    assert Machine.from_json(recorded) == machine
    assert "tailscale_key" not in recorded


@given(st.sampled_from(sorted(Machine().to_json())), st.sampled_from([[], {}, 1.5, None, "", 0, True]))
def test_a_machine_with_a_value_of_another_type_is_refused(key: str, value: Json) -> None:
    own = getattr(Machine(), key)
    fitting = {type(own), *({str, type(None)} if own is None and key != "gtt_gib" else ())}
    fitting |= {int, type(None)} if key == "gtt_gib" else set()
    found = Machine.from_json(Machine().to_json() | {key: value})
    assert (found is not None) == (type(value) in fitting)


@pytest.mark.parametrize("key", sorted(Machine().to_json()))
def test_a_machine_that_lacks_a_key_is_refused(key: str) -> None:
    assert Machine.from_json({name: one for name, one in Machine().to_json().items() if name != key}) is None


@pytest.mark.parametrize("key", [one.name for one in fields(Machine) if not one.compare])
def test_a_machine_with_what_is_never_recorded_is_refused(key: str) -> None:
    assert Machine.from_json(Machine().to_json() | {key: ""}) is None


def test_a_record_is_read_without_a_machine_that_it_lacks() -> None:
    assert Applied.read(json.dumps({"digest": DIGEST})) == Applied(DIGEST, None)
