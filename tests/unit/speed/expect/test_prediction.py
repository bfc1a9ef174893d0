"""Expected speed and memory: owners' claims, physics, and the figures that were promised."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cells import read_cells, shape_from
from fit_roofline import NAMES
from hypothesis import given
from hypothesis import strategies as st
from leave_one_family_out import GOALS, GROUPS, errors, figures, one_efficiency, roofline
from model_catalogue import BY_FAMILY
from quant_mix import typed_tensors

from strixfleet.errors import UsageError
from strixfleet.findings.expectation import Basis, Expectation
from strixfleet.speed.expect.prediction import Prediction, Setting, expected_decode, predict
from strixfleet.speed.expect.reference_data import library
from strixfleet.speed.expect.references import Library
from strixfleet.speed.expect.roofline import Machine, ceiling_tps, expect, gpu_times
from strixfleet.speed.expect.roofline_costs import BACKENDS
from strixfleet.speed.model.model_shape import ModelShape


GIB = 1024**3
HALO = Machine(256.0)
ROOM = Setting(HALO, "vulkan", 120 * GIB, 124 * GIB)
NOTHING = Library()


def _shape(family: str, label: str) -> ModelShape:
    return shape_from(BY_FAMILY[family], typed_tensors(BY_FAMILY[family], label))


def _predict(family: str, label: str, **changes: object) -> Prediction:
    return predict(_shape(family, label), replace(ROOM, **changes), NOTHING)  # type: ignore[arg-type] # a test's


def _decode(found: Prediction) -> Expectation:
    assert found.decode is not None
    return found.decode


def test_a_70b_at_q8_0_cannot_reach_the_15_to_25_that_a_guide_claims() -> None:
    found = _predict("llama-3.3-70b", "Q8_0")
    assert found.memory.fits
    assert _decode(found).ceiling_tps < 4
    assert _decode(found).expected_tps == pytest.approx(3.0, rel=0.1)


def test_a_27b_at_q6_k_and_9_57_is_as_fast_as_it_gets() -> None:
    on_gpu, on_cpu = _predict("qwen3.5-27b", "Q6_K"), _predict("qwen3.5-27b", "Q6_K", backend="cpu")
    assert _decode(on_gpu).expected_tps == pytest.approx(9.57, rel=0.05)
    assert _decode(on_gpu).floor_tps < 9.57 < _decode(on_gpu).ceiling_tps
    assert _decode(on_cpu).expected_tps == pytest.approx(4.43, rel=0.1)


@pytest.mark.parametrize(
    ("family", "label", "backend", "machine", "claimed_tps"),
    [
        ("qwen3-30b-a3b", "Q6_K", "vulkan", HALO, 66.40),
        ("qwen3-8b", "Q4_K_M", "vulkan", HALO, 37.0),
        ("qwen3-32b", "Q4_K_M", "vulkan", HALO, 10.4),
        ("gpt-oss-20b", "MXFP4", "vulkan", Machine(89.6, halo=False), 23.43),
        ("qwen3-8b", "Q4_K_M", "vulkan", Machine(89.6, halo=False), 13.41),
        ("qwen3-8b", "Q8_0", "vulkan", Machine(89.6, halo=False), 9.46),
    ],
)
def test_what_owners_measured_is_between_floor_and_ceiling(
    family: str, label: str, backend: str, machine: Machine, claimed_tps: float
) -> None:
    decode = expect(_shape(family, label), machine, backend)
    assert decode.floor_tps <= claimed_tps <= decode.ceiling_tps


def test_a_run_on_battery_is_below_the_floor() -> None:
    decode = expect(_shape("qwen3-8b", "Q4_K_M"), Machine(89.6, halo=False), "vulkan")
    assert decode.floor_tps > 9.87


def test_sixteen_bit_experts_on_vulkan_are_foreseen_and_named() -> None:
    shape = _shape("qwen3-235b-a22b", "BF16")
    on_vulkan, on_rocm = expect(shape, HALO, "vulkan"), expect(shape, HALO, "rocm")
    assert on_rocm.expected_tps > 1.4 * on_vulkan.expected_tps
    assert on_vulkan.expected_tps < ceiling_tps(shape, HALO) / 2.5
    assert on_vulkan.basis is Basis.UNCERTAIN
    assert "16-bit experts run about three times slower on Vulkan" in on_vulkan.notes[0]
    assert not on_rocm.notes


def test_the_reason_is_a_sum_that_adds_up() -> None:
    found = _predict("qwen3.5-27b", "Q6_K")
    times = gpu_times(found.shape, BACKENDS["vulkan"], HALO)
    assert 1e3 / _decode(found).expected_tps == pytest.approx(times.total_ms)
    for words in (
        "21.03 GB per token",
        "of 256",
        "operations",
        "48 recurrent layers",
        f"{times.total_ms:.1f} ms",
    ):
        assert words in found.reason
    assert "GiB: fits" in found.reason


@pytest.mark.slow
def test_leave_one_family_out_meets_the_goals_and_beats_the_naive_formulas() -> None:
    cells, _ = read_cells()
    kept = [cell for cell in cells if not cell.sixteen_bit_experts_on_vulkan]
    ours = errors(kept, roofline)
    for group, (median_goal, p90_goal) in GOALS.items():
        mine = figures([error for cell, error in ours if GROUPS[group](cell)])
        assert mine[0] <= median_goal, group
        assert mine[1] <= p90_goal, group
        for attribute in ("naive_gb", "refined_gb"):
            theirs = [error for cell, error in errors(kept, one_efficiency(attribute)) if GROUPS[group](cell)]
            assert mine[0] < figures(theirs)[0], (group, attribute)
            assert mine[1] < figures(theirs)[1], (group, attribute)


@pytest.mark.slow
def test_shipped_references_hold_what_the_shipped_constants_say() -> None:
    by_key = {(one.backend, one.family, one.quant, one.size_bytes): one for one in library().references}
    cells = [cell for cell in read_cells()[0] if cell.backend in NAMES]
    assert len(by_key) == len(cells) == 97
    for cell in cells:
        backend = NAMES[cell.backend]
        shipped = by_key[backend, cell.family, cell.label, cell.size_bytes]
        assert shipped.tps == cell.tps
        assert shipped.formula_tps == pytest.approx(expect(cell.shape, HALO, backend).expected_tps, rel=1e-3)


def test_a_published_run_of_the_same_file_beats_the_formula() -> None:
    decode = expected_decode(_shape("llama-4-scout", "Q8_0"), replace(ROOM, backend="rocm"), library())
    assert decode.basis is Basis.REFERENCE
    assert decode.expected_tps == 12.16
    assert "kyuz0/amd-strix-halo-toolboxes" in decode.reason


def test_a_published_run_of_the_family_corrects_the_formula() -> None:
    shape = _shape("llama-2-7b", "Q6_K")
    plain, corrected = (expected_decode(shape, ROOM, one) for one in (NOTHING, library()))
    assert corrected.basis is Basis.FAMILY
    assert corrected.expected_tps != plain.expected_tps
    assert 0.75 <= corrected.expected_tps / plain.expected_tps <= 1.3
    assert "the correction from measurements of llama-2-7b Q4_0" in corrected.reason


def test_references_of_strix_halo_are_not_used_elsewhere() -> None:
    elsewhere = replace(ROOM, machine=Machine(89.6, halo=False))
    assert expected_decode(_shape("llama-2-7b", "Q4_0"), elsewhere, library()).basis is Basis.DENSE


def test_depth_costs_what_the_cache_costs() -> None:
    shape = _shape("qwen3-30b-a3b", "Q4_K_M")
    start, deep = (expected_decode(shape, replace(ROOM, depth=depth), library()) for depth in (0, 32768))
    added_ms = 1e3 / deep.expected_tps - 1e3 / start.expected_tps
    assert added_ms == pytest.approx(98304 * 32768 / 1e9 * 5.3, rel=0.01)
    assert deep.ceiling_tps < start.ceiling_tps
    assert "at depth 32768" in deep.reason


def test_a_model_too_large_for_the_gpu_runs_in_part() -> None:
    tight = replace(ROOM, available_bytes=56 * GIB, system_bytes=60 * GIB)
    found = predict(_shape("qwen3-30b-a3b", "BF16"), replace(tight, backend="rocm"), NOTHING)
    assert not found.memory.fits
    assert 40 < found.memory.layers_on_gpu < 48
    assert f"{found.memory.layers_on_gpu} of 48 layers" in found.reason
    whole = expect(found.shape, HALO, "rocm").expected_tps
    assert found.decode is None
    assert found.partial is not None
    assert found.partial.expected_tps < whole


def test_a_model_too_large_for_the_machine_is_said_not_to_fit() -> None:
    found = _predict("qwen3-235b-a22b", "Q8_0")
    assert not found.memory.fits
    assert "not even with layers on the CPU" in found.reason


def test_context_decides_whether_it_fits() -> None:
    small, large = (_predict("llama-3.3-70b", "Q8_0", context=context) for context in (4096, 131072 * 2))
    assert small.memory.fits
    assert not large.memory.fits
    assert large.memory.kv_bytes == 64 * small.memory.kv_bytes


def test_an_unknown_backend_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="'cuda' is not known; hint: one of vulkan"):
        expect(_shape("llama-2-7b", "Q4_0"), HALO, "cuda")


_FAMILIES = st.sampled_from(
    ["llama-2-7b", "qwen3-30b-a3b", "qwen3-next-80b-a3b", "glm-4.7-flash", "gemma-3-27b"]
)
_LABELS = st.sampled_from(["Q8_0", "Q4_K_M", "BF16", "Q3_K_S"])
_BACKENDS = st.sampled_from([*BACKENDS, "cpu"])


@given(_FAMILIES, _LABELS, _BACKENDS, st.floats(40, 600), st.integers(0, 100_000))
def test_the_expectation_never_exceeds_physics(
    family: str, label: str, backend: str, bandwidth: float, depth: int
) -> None:
    shape, machine = _shape(family, label), Machine(bandwidth, halo=bandwidth == 256.0)
    setting = replace(ROOM, machine=machine, backend=backend, depth=depth)
    decode = expected_decode(shape, setting, library())
    assert 0 < decode.floor_tps < decode.warn_tps < decode.expected_tps <= decode.ceiling_tps
    faster = expected_decode(
        shape, replace(setting, machine=Machine(bandwidth * 1.1, halo=machine.halo)), NOTHING
    )
    slower = expected_decode(shape, setting, NOTHING)
    assert slower.expected_tps < faster.expected_tps
    deeper = expected_decode(shape, replace(setting, depth=depth + 4096), NOTHING)
    assert deeper.expected_tps <= slower.expected_tps


@given(_FAMILIES, st.integers(1, 200_000), st.integers(0, 200_000))
def test_more_context_never_takes_less_memory(family: str, context: int, more: int) -> None:
    shape = _shape(family, "Q8_0")
    assert shape.kv_bytes(context) <= shape.kv_bytes(context + more)


def test_headers_on_disk_predict_like_the_catalogue(header_of: Callable[..., Path]) -> None:
    from strixfleet.speed.model.gguf_header import read_header
    from strixfleet.speed.model.model_shape import shape_of

    for family, label in (("gemma-3-4b", "Q4_K_M"), ("qwen3-30b-a3b", "Q4_K_M"), ("gpt-oss-20b", "MXFP4")):
        from_disk = expect(shape_of(read_header(header_of(family, label))), HALO, "vulkan")
        assert from_disk.expected_tps == pytest.approx(
            expect(_shape(family, label), HALO, "vulkan").expected_tps
        )
