"""Shapes: what a token reads and what the cache takes, for every kind of architecture."""

from collections.abc import Callable
from math import prod
from pathlib import Path

import pytest
from cells import shape_from
from hypothesis import given
from hypothesis import strategies as st
from model_catalogue import BY_FAMILY, CATALOGUE, Model
from quant_mix import typed_tensors

from strixfleet.errors import GgufError
from strixfleet.sandbox.gguf_writer import write_header_only
from strixfleet.speed.model.gguf_header import read_header
from strixfleet.speed.model.model_file import ArrayLeftOut, GgufHeader, MetadataValue, TensorInfo
from strixfleet.speed.model.model_shape import ModelShape, shape_of


GIB = 1024**3
HeaderOf = Callable[..., Path]
# Read per token, billions of parameters, and bytes of cache per token in layers with full attention:
# the published configurations of the models.
PUBLISHED = {
    "gpt-oss-120b": (5.131, 36864),
    "qwen3-30b-a3b": (3.042, 98304),
    "glm-4.6": (32.854, 376832),
    "hunyuan-a13b": (12.747, 131072),
    "dots.llm1": (13.393, 1015808),
    "qwen3-next-80b-a3b": (3.562, 24576),
    "minimax-m2": (10.415, 253952),
    "nemotron-3-nano-30b-a3b": (3.227, 6144),
    "glm-4.7-flash": (3.579, 54144),
    "qwen3.5-122b-a10b": (9.006, 24576),
    "gemma-4-26b-a4b": (3.822, 20480),
    "llama-2-7b": (6.607, 524288),
    "tinyllama-1.1b": (1.034, 22528),
    "llama-3.2-3b": (3.213, 114688),
    "mistral-small-24b": (22.901, 163840),
    "devstral-2-123b": (123.419, 360448),
    "qwen2.5-7b": (7.071, 57344),
    "qwen3-14b": (13.99, 163840),
    "qwen3-32b": (31.984, 262144),
    "command-r-plus": (103.81, 262144),
    "gemma-3-4b": (3.88, 20480),
    "gemma-3-27b": (27.01, 81920),
    "gemma-4-31b": (30.7, 81920),
}


def _shape(family: str, label: str = "BF16") -> ModelShape:
    return shape_from(BY_FAMILY[family], typed_tensors(BY_FAMILY[family], label))


@pytest.mark.parametrize("family", PUBLISHED)
def test_bytes_read_and_cache_agree_with_published_figures(family: str) -> None:
    shape = _shape(family)
    parameters_b, full_bytes = PUBLISHED[family]
    assert shape.bytes_read_per_token == pytest.approx(
        2e9 * parameters_b, rel=0.02
    )  # routers are kept in 32 bit
    assert sum(layer.bytes_per_token for layer in shape.kv if layer.window is None) == full_bytes


@pytest.mark.parametrize("model", CATALOGUE, ids=lambda model: f"{model.arch}-{model.family}")
def test_every_architecture_is_read_from_its_file(model: Model, header_of: HeaderOf) -> None:
    header = read_header(header_of(model.family, "Q8_0"))
    shape = shape_of(header)
    assert header.missing_bytes == 0
    assert (shape.architecture, shape.layers) == (model.arch, model.layers)
    assert (shape.experts, shape.experts_used) == (model.experts, model.used)
    assert shape.recurrent_layers == len(model.recurrent)
    assert shape.tied is model.tied
    assert shape.parameters == sum(prod(tensor) for _, tensor in model.tensors())
    assert 0 < shape.bytes_read_per_token <= shape.weights_bytes <= shape.size_bytes
    assert shape.kv_bytes(8192) >= shape.kv_bytes(4096) >= shape.state_bytes
    assert (shape.state_bytes > 0) is bool(model.recurrent)
    assert bool(shape.kv) is (model.attention is None or bool(model.attention))


def test_at_least_twenty_architectures_are_covered() -> None:
    assert len({model.arch for model in CATALOGUE}) >= 20


def test_bytes_are_counted_tensor_by_tensor(tmp_path: Path) -> None:
    path = tmp_path / "moe.gguf"
    metadata = {
        "general.architecture": "glm4moe",
        "glm4moe.block_count": 3,
        "glm4moe.embedding_length": 256,
        "glm4moe.attention.head_count": 2,
        "glm4moe.attention.head_count_kv": 1,
        "glm4moe.expert_count": 8,
        "glm4moe.expert_used_count": 2,
        "glm4moe.nextn_predict_layers": 1,
    }
    tensors = [
        ("token_embd.weight", (256, 1000), "Q8_0"),  # a row is read
        ("output.weight", (256, 1000), "Q6_K"),  # 256 * 1000 * 210 / 256
        ("blk.0.attn_q.weight", (256, 256), "Q4_K"),  # 256 * 256 * 144 / 256
        ("blk.1.ffn_gate_inp.weight", (256, 8), "F32"),  # 256 * 8 * 4
        ("blk.1.ffn_up_exps.weight", (256, 512, 8), "Q4_0"),  # 256 * 512 * 2 * 18 / 32
        ("blk.1.ffn_up_shexp.weight", (256, 512), "Q8_0"),  # 256 * 512 * 34 / 32
        ("blk.2.attn_q.weight", (256, 256), "Q4_K"),  # predicts ahead: not run
        ("blk.2.nextn.eh_proj.weight", (512, 256), "Q4_K"),
    ]
    write_header_only(path, metadata, tensors)
    shape = shape_of(read_header(path))
    want = 1000 * 210 + 256 * 144 + 256 * 8 * 4 + 256 * 512 * 2 * 18 // 32 + 256 * 512 * 34 // 32
    assert shape.bytes_read_per_token == want
    assert (shape.layers, shape.prediction_layers, shape.moe_layers) == (2, 1, 1)


def test_a_tied_embedding_is_read_as_the_head() -> None:
    model = BY_FAMILY["llama-3.2-3b"]
    shape = _shape(model.family, "Q8_0")
    assert shape.tied
    assert shape.bytes_read_per_token == shape.weights_bytes


def test_old_files_with_one_tensor_per_expert_count_alike(tmp_path: Path) -> None:
    metadata = {
        "general.architecture": "llama",
        "llama.block_count": 1,
        "llama.embedding_length": 256,
        "llama.attention.head_count": 2,
        "llama.expert_count": 4,
        "llama.expert_used_count": 2,
    }
    head = ("output.weight", (256, 32), "Q8_0")
    singles = [(f"blk.0.ffn_up.{expert}.weight", (256, 512), "Q8_0") for expert in range(4)]
    stacked = [("blk.0.ffn_up_exps.weight", (256, 512, 4), "Q8_0")]
    shapes = []
    for name, tensors in (("old", singles), ("new", stacked)):
        path = tmp_path / f"{name}.gguf"
        write_header_only(path, metadata, [head, *tensors])
        shapes.append(shape_of(read_header(path)))
    assert shapes[0].bytes_read_per_token == shapes[1].bytes_read_per_token
    assert shapes[0].moe_layers == shapes[1].moe_layers == 1


def test_windows_cap_the_cache() -> None:
    shape = _shape("gemma-3-27b")
    windowed = [layer for layer in shape.kv if layer.window]
    assert len(windowed) == 52
    assert {layer.window for layer in windowed} == {1024}
    assert all(layer.held_bytes(65536) == layer.bytes_per_token * 1536 for layer in windowed)
    assert all(layer.read_bytes(65536) == layer.bytes_per_token * 1024 for layer in windowed)


def test_latent_attention_caches_576_values_per_layer() -> None:
    shape = _shape("glm-4.7-flash")
    assert {layer.bytes_per_token for layer in shape.kv} == {576 * 2}
    assert shape.latent_kv


def test_only_attention_layers_of_hybrids_cache() -> None:
    assert len(_shape("qwen3-next-80b-a3b").kv) == 12
    assert len(_shape("nemotron-3-nano-30b-a3b").kv) == 6
    assert len(_shape("granite-4.0-h-tiny").kv) == 4
    assert len(_shape("falcon-h1-7b").kv) == 44
    assert _shape("mamba-2-2.7b").kv == ()


def test_recurrent_state_is_what_llama_cpp_allocates() -> None:
    # 36 layers x (128 x 4096 state + 3 x (4096 + 2 x 16 x 128) convolution) x 4 bytes
    assert _shape("qwen3-next-80b-a3b").state_bytes == 36 * (128 * 4096 + 3 * 8192) * 4


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, "has no architecture"),
        ({"general.architecture": "clip"}, "not a language model but a clip file"),
        ({"general.architecture": "llama", "general.type": "adapter"}, "not a language model but a adapter"),
        ({"general.architecture": "llama"}, "no valid number of layers"),
        ({"general.architecture": "llama", "llama.block_count": -1}, "no valid number of layers"),
        ({"general.architecture": "llama", "llama.block_count": 10**9}, "no valid number of layers"),
        ({"general.architecture": "llama", "llama.block_count": 1}, "no tensor that a token would read"),
        (
            {"general.architecture": "llama", "llama.block_count": 1, "llama.expert_count": 8},
            "0 of 8 experts",
        ),
    ],
)
def test_what_is_no_model_is_refused(metadata: dict[str, MetadataValue], words: str) -> None:
    with pytest.raises(GgufError, match=words):
        shape_of(GgufHeader(metadata, (), 0, 0, ("x.gguf",), "x"))


_KEYS = st.sampled_from(
    [
        *(f"llama.{key}" for key in ("block_count", "embedding_length", "expert_count", "expert_used_count")),
        *(
            f"llama.attention.{key}"
            for key in ("head_count", "head_count_kv", "key_length", "sliding_window")
        ),
        *(f"llama.attention.{key}" for key in ("kv_lora_rank", "key_length_mla", "shared_kv_layers")),
        *(f"llama.ssm.{key}" for key in ("inner_size", "state_size", "conv_kernel", "group_count")),
        "llama.attention.sliding_window_pattern",
        "llama.kda.head_dim",
        "llama.wkv.head_size",
        "llama.vocab_size",
        "general.name",
        "general.type",
    ]
)
_VALUES = st.one_of(
    st.integers(-(2**63), 2**64),
    st.floats(),
    st.booleans(),
    st.text(max_size=8),
    st.lists(st.integers(-3, 300), max_size=8).map(tuple),
    st.builds(ArrayLeftOut, st.integers(0, 10**6)),
)
_NAMES = st.sampled_from(
    [
        "token_embd.weight",
        "output.weight",
        "blk.0.attn_k.weight",
        "blk.1.ffn_up_exps.weight",
        "blk.0.ffn_up.7.weight",
        "blk.1.ssm_conv1d.weight",
        "blk.99999.nextn.x",
        "blk.0.attn_kv_a_mqa.weight",
        "a.b",
        "",
    ]
)
_TENSORS = st.builds(
    TensorInfo,
    _NAMES,
    st.lists(st.integers(1, 2**40), min_size=1, max_size=4).map(tuple),
    st.sampled_from(["F32", "Q4_K", "MXFP4"]),
    st.integers(1, 2**60),
    st.just(0),
)


@given(st.dictionaries(_KEYS, _VALUES), st.lists(_TENSORS, max_size=8))
def test_senseless_metadata_gives_a_shape_or_an_error(
    metadata: dict[str, MetadataValue], tensors: list[TensorInfo]
) -> None:
    full = {"general.architecture": "llama", "llama.block_count": 2, **metadata}
    try:
        shape = shape_of(GgufHeader(full, tuple(tensors), 1, 0, ("x.gguf",), "x"))
    except GgufError:
        return
    assert shape.bytes_read_per_token > 0
    assert shape.kv_bytes(4096) >= 0
    assert shape.name.isprintable()


def test_prediction_layers_that_a_file_counts_but_does_not_hold_do_not_run() -> None:
    names = ("output.weight", "blk.0.attn_k.weight", "blk.1.attn_k.weight")
    tensors = tuple(TensorInfo(name, (256, 256), "Q8_0", 69632, 0) for name in names)
    metadata: dict[str, MetadataValue] = {
        "general.architecture": "qwen35",
        "qwen35.block_count": 3,
        "qwen35.nextn_predict_layers": 1,
        "qwen35.attention.head_count": 2,
        "qwen35.embedding_length": 256,
    }
    shape = shape_of(GgufHeader(metadata, tensors, 1, 0, ("x.gguf",), "x"))
    assert (shape.layers, shape.prediction_layers, len(shape.kv)) == (2, 1, 2)
