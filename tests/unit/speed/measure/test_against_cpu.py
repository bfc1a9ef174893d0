"""The GPU against the CPU: what is run, what is compared, what is said."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from strixfleet.errors import GgufError
from strixfleet.findings.results import HostReport
from strixfleet.fleet.session import ProbedHost
from strixfleet.hosts.reach import remote_for
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.compiled import compile_host
from strixfleet.managed.facts import ControllerFacts
from strixfleet.on_host.questions import Json
from strixfleet.speed.host_bench import HostBench
from strixfleet.speed.judge.slow_causes import slower_than_cpu
from strixfleet.speed.measure.against_cpu import AgainstCpu, against_cpu
from strixfleet.speed.measure.host_answer import FileStat, HostAnswer, ServerUnit
from strixfleet.speed.measure.host_conditions import HostConditions, MemoryUse
from strixfleet.speed.measure.llama_bench import BenchRow
from strixfleet.speed.measure.remote_bench import Bench, ProgramRun
from strixfleet.speed.measure.server_flags import ServerFlags
from strixfleet.speed.model.model_file import GgufHeader
from tests.cases.aspect_cases import ASPECT_CASES, load_case


CASE = ASPECT_CASES / "llama_cpp/bare_host.yml"
GPU = BenchRow("tg128", (50.0,), "Vulkan", "Radeon (RADV GFX1151)", "cpu", "Vulkan0", 999)
CPU = replace(GPU, devices="none", samples_tps=(20.0,))  # the GPU is named all the same


def test_both_runs_are_paired_by_test() -> None:
    (one,) = against_cpu("m", [GPU, replace(GPU, test="pp512")], [CPU])
    assert str(one) == "m: decode on the CPU: 20.00 t/s, the GPU is 2.5 times as fast"
    assert one.to_json() == {"model": "m", "test": "tg128", "tps": 20.0, "ratio": 2.5}
    assert list(slower_than_cpu(one, "h")) == []


def test_a_faster_cpu_is_a_warning_and_the_first_reason() -> None:
    one = AgainstCpu("m", "pp512", 10.0, 20.0)
    assert str(one) == "warning: m: prefill on the CPU: 20.00 t/s, the GPU reaches only 10.00"
    (cause,) = slower_than_cpu(one, "h")
    assert cause.evidence == "pp512: 20.00 t/s on the CPU, 10.00 on the GPU"
    assert "strixfleet audit -l h" in cause.cure


@pytest.mark.parametrize(
    ("gpu", "cpu"),
    [
        (replace(GPU, gpu=""), CPU),
        (replace(GPU, gpu_layers=0), CPU),
        (replace(GPU, devices="none"), CPU),
        (GPU, replace(CPU, devices="Vulkan0")),
    ],
)
def test_a_run_on_the_wrong_device_is_no_comparison(gpu: BenchRow, cpu: BenchRow) -> None:
    assert against_cpu("m", [gpu], [cpu]) == ()


def test_the_cpu_is_asked_once_whatever_the_server_was_told() -> None:
    words = ("llama-server", "--device", "Vulkan0", "--n-gpu-layers", "999", "--threads", "8")
    flags = ServerFlags(words, {})
    assert flags.bench_options(on_cpu=True) == ["-dev", "none", "-t", "8"]


class Fake(Bench):
    """A host on which llama-bench is as fast as `tps` says, by device."""

    def __init__(self, host: Host, gpu_tps: float, available_bytes: int) -> None:
        super().__init__(host, remote_for(host, ""))
        self.gpu_tps = gpu_tps
        self.available_bytes = available_bytes
        self.arguments: list[list[str]] = []

    def look(self, instances: list[str], files: list[str], calm_s: float) -> HostAnswer:
        assert calm_s >= 0
        unit = ServerUnit("failed", 7, ("llama-server", "--device", "Vulkan0"))
        return HostAnswer(
            build="b1",
            instances=dict.fromkeys(instances, unit),
            files=dict.fromkeys(files, FileStat(1_000_000_000)),
            conditions=HostConditions(memory=MemoryUse(self.available_bytes)),
        )

    def program(self, request: Mapping[str, Json], timeout_s: int) -> ProgramRun:
        words = request["arguments"]
        assert isinstance(words, list)
        assert timeout_s > 60
        self.arguments.append([str(word) for word in words])
        without = "none" in words
        row = {
            "samples_ts": [20.0 if without else self.gpu_tps],
            "n_gen": 128,
            "backends": "Vulkan",
            "gpu_info": "llvmpipe",
            "devices": "none" if without else "Vulkan0",
            "n_gpu_layers": 999,
        }
        return ProgramRun(0, json.dumps([row]), "")

    def keep(self, name: str, data: Json) -> None:
        """Keep nothing."""

    def header(self, paths: list[str], files: Mapping[str, FileStat | None]) -> GgufHeader:
        raise GgufError("has no header", where=f"{paths[0]} of {len(files)}")


def measured(backend: str, gpu_tps: float = 50.0, available_bytes: int = 1 << 40) -> tuple[HostReport, Fake]:
    models = [{"name": "m", "host_path": "/m.gguf", "sha256": "f" * 64}]
    instances = [{"name": "main", "model": "m", "port": 8080}]
    settings = {
        "hardware_profile": "sandbox",
        "llama_cpp_backend": backend,
        "llama_models": models,
        "llama_server_instances": instances,
    }
    host = Host("h", Connection("127.0.0.1", local=True), HostSettings.model_validate(settings))
    answers = load_case(CASE).answers
    state = compile_host(host, answers, ControllerFacts())
    fake = Fake(host, gpu_tps, available_bytes)
    seen = ProbedHost(state, answers, state.differences(answers), 0.1)
    return HostBench(host, seen, fake).measure(everything=False, cpu=True), fake


def test_a_host_is_measured_without_its_gpu_when_asked() -> None:
    report, fake = measured("vulkan")
    assert report.extra["cpu"] == [
        {"instance": "main", "model": "m", "test": "tg128", "tps": 20.0, "ratio": 2.5}
    ]
    notes = report.extra["notes"]
    assert isinstance(notes, list)
    assert "m: decode on the CPU: 20.00 t/s, the GPU is 2.5 times as fast" in notes
    assert [words.count("-dev") for words in fake.arguments] == [1, 1]


def test_a_slower_gpu_is_a_reason_and_no_grade() -> None:
    report, _fake = measured("vulkan", gpu_tps=10.0)
    assert [one.grade.value for one in report.verdicts if one.test == "tg128"] == ["ok"]
    reasons = report.extra["reasons"]
    assert isinstance(reasons, list)
    assert [row["cause"] for row in reasons if isinstance(row, dict)] == ["the CPU is faster than the GPU"]


def test_a_model_that_does_not_fit_twice_is_left_out() -> None:
    report, fake = measured("vulkan", available_bytes=1_500_000_000)
    assert (report.extra["cpu"], fake.arguments) == ([], [])
    assert report.extra["notes"] == [
        "m: 1.0 GB do not fit twice; only the running server is measured",
        "software rendering on a simulated GPU: no expected speed",
    ]


def test_without_a_gpu_there_is_nothing_to_compare() -> None:
    report, fake = measured("cpu")
    notes = report.extra["notes"]
    assert isinstance(notes, list)
    assert "llama_cpp_backend is cpu: there is no GPU to compare with" in notes
    assert not any("none" in words for words in fake.arguments)
