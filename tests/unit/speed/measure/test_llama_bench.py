"""llama-bench's answer, read and judged by device."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strixfleet.inventory.schema.parts import SmokeBench
from strixfleet.speed.measure.llama_bench import (
    BenchRow,
    BenchUnreadableError,
    bench_arguments,
    fits_twice,
    parse_bench,
    spread,
    wrong_device,
)


ANSWER = (Path(__file__).parent / "answers" / "cpu.json").read_text(encoding="utf-8")
KEYS = ["samples_ts", "n_prompt", "n_gen", "gpu_info", "backends"]
HALO = BenchRow(
    test="tg128",
    samples_tps=(52.0, 52.1, 52.2),
    backends="Vulkan",
    gpu="Radeon 8060S Graphics (RADV GFX1151)",
    cpu="AMD RYZEN AI MAX+ 395",
    devices="auto",
    gpu_layers=-1,
)


def test_a_recorded_answer_is_read() -> None:
    prefill, decode = parse_bench(ANSWER)
    assert (prefill.test, decode.test) == ("pp16", "tg8")
    assert prefill.samples_tps == (48.1611, 40.3045, 32.6906)
    assert decode.device == "AMD EPYC"


def test_noise_before_the_answer_is_left_out() -> None:
    assert parse_bench(f"load_backend: loaded CPU backend\n{ANSWER}") == parse_bench(ANSWER)


@pytest.mark.parametrize(
    "text", ["", "nothing", "[]", "[1]", "{}", '[{"samples_ts": []}]', "[[", ANSWER[:400]]
)
def test_what_is_no_answer_is_said(text: str) -> None:
    with pytest.raises(BenchUnreadableError):
        parse_bench(text)


@pytest.mark.parametrize("speed", ["1e300", "Infinity", "NaN", "-1", "1000001"])
def test_a_speed_that_no_machine_reaches_is_no_result(speed: str) -> None:
    with pytest.raises(BenchUnreadableError, match=r"samples_ts|is not a number"):
        parse_bench(ANSWER.replace("48.1611", speed))


def test_an_answer_that_is_nested_too_deep_is_said() -> None:
    with pytest.raises(BenchUnreadableError, match="is not JSON"):
        parse_bench("[" * 200_000)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner),
        max_leaves=8,
    )
)
def test_whatever_is_printed_gives_rows_or_one_error(value: object) -> None:
    try:
        rows = parse_bench(json.dumps(value))
    except BenchUnreadableError:
        return
    assert rows
    assert all(row.samples_tps for row in rows)


def test_the_wanted_device_is_right() -> None:
    assert wrong_device(HALO, "vulkan", amd=True) == ""
    cpu = parse_bench(ANSWER)[0]
    assert wrong_device(cpu, "cpu", amd=True) == ""


@pytest.mark.parametrize(
    ("row", "evidence"),
    [
        (replace(HALO, gpu=""), "the CPU (AMD RYZEN AI MAX+ 395) computed"),
        (replace(HALO, gpu="llvmpipe (LLVM 19.1.7, 256 bits)"), "software driver"),
        (replace(HALO, gpu="Radeon 8060S Graphics"), "not Mesa's RADV"),
        (replace(HALO, gpu_layers=0), "no layer"),
        (replace(HALO, backends="CPU"), "no vulkan device was found"),
        (replace(HALO, devices="none"), "computed"),
    ],
)
def test_a_wrong_device_is_named_with_its_evidence(row: BenchRow, evidence: str) -> None:
    assert evidence in wrong_device(row, "vulkan", amd=True)


def test_a_software_driver_is_right_where_the_gpu_is_simulated_but_none_at_all_is_not() -> None:
    row = replace(HALO, gpu="llvmpipe (LLVM 19.1.7, 256 bits)")
    assert wrong_device(row, "vulkan", amd=False, software=True) == ""
    assert wrong_device(replace(row, gpu=""), "vulkan", amd=False, software=True) != ""


def test_another_driver_than_radv_is_fine_where_no_amd_gpu_is_expected() -> None:
    assert wrong_device(replace(HALO, gpu="Intel Arc"), "vulkan", amd=False) == ""


def test_rocm_is_known_by_its_backend() -> None:
    assert wrong_device(replace(HALO, backends="ROCm"), "rocm", amd=True) == ""
    assert "no rocm device was found" in wrong_device(HALO, "rocm", amd=True)


def test_arguments_hold_the_smoke_benchmark_and_the_servers_options() -> None:
    words = bench_arguments("/m.gguf", SmokeBench(), ["-t", "4"])
    assert words == ["-m", "/m.gguf", "-o", "json", "-p", "512", "-n", "128", "-r", "3", "-t", "4"]


def test_spread_is_of_the_median() -> None:
    assert spread([9.0, 10.0, 11.0]) == pytest.approx(0.2)
    assert spread([]) == 0.0


def test_a_second_copy_needs_room_to_spare() -> None:
    gib = 1 << 30
    assert fits_twice(10 * gib, 13 * gib)
    assert not fits_twice(10 * gib, 11 * gib)
