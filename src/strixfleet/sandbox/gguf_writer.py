"""
Write GGUF files for tests and the demo: random-weight Llamas that llama.cpp runs, and bare headers.

A random model generates nonsense at the speed of a real model of its size: prefill, decode, load time and
memory are realistic. The same options give the same bytes.
"""

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from strixfleet.sandbox.gguf_random import (
    BYTES_PER_VALUE,
    SPECIAL_TOKENS,
    VALUES_PER_BLOCK,
    LlamaOptions,
    LlamaShape,
    Noise,
    Quant,
    choose_shape,
    tensors,
)


if TYPE_CHECKING:
    import gguf


_UNKNOWN, _CONTROL, _BYTE, _NORMAL = 2, 3, 6, 1  # gguf.TokenType


def write_random_llama(path: Path, **options: Unpack[LlamaOptions]) -> None:
    """
    Write a random-weight Llama, dense or mixture of experts, that llama.cpp can run.

    The vocabulary has 354 tokens: three special, 256 bytes, 95 printable characters. No chat template.
    """
    quant: Quant = options.get("quant", "q8_0")
    seed = options.get("seed", 0)
    shape = choose_shape(options, BYTES_PER_VALUE[quant])
    writer = _open_writer(path, "llama")
    writer.add_name(options.get("name", path.stem))
    _add_hyperparameters(writer, shape, options.get("context_length", 8192))
    writer.add_file_type({"q8_0": 7, "f16": 1}[quant])
    _add_vocabulary(writer)
    _write_tensors(writer, list(tensors(shape)), Noise(quant, seed))


def write_header_only(
    path: Path,
    metadata: Mapping[str, Any],
    tensors: Sequence[tuple[str, Sequence[int], str]],
) -> None:
    """
    Write a GGUF of any architecture as a sparse file: full size, but only kilobytes on disk.

    `metadata` maps keys to str, bool, int, float or lists of them and holds `general.architecture`; `tensors`
    lists (name, shape with the fastest dimension first as GGUF stores it, type name such as `Q4_K`).
    """
    import gguf

    writer = _open_writer(path, str(metadata["general.architecture"]))
    for key, value in metadata.items():
        if key != "general.architecture":
            _add_value(writer, key, value)
    size_bytes = 0
    for name, shape, type_name in tensors:
        kind = gguf.GGMLQuantizationType[type_name]
        block_values, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        tensor_bytes = prod(shape) // block_values * block_bytes
        _add_info(writer, name, (shape, kind, tensor_bytes))
        size_bytes += -(-tensor_bytes // 32) * 32
    _finish_header(writer)
    writer.close()
    header_bytes = -(-path.stat().st_size // 32) * 32
    with path.open("r+b") as file:
        file.truncate(header_bytes + size_bytes)


def _write_tensors(
    writer: "gguf.GGUFWriter", tensors: list[tuple[str, tuple[int, ...], bool]], noise: Noise
) -> None:
    import gguf

    quantised = gguf.GGMLQuantizationType.Q8_0 if noise.quant == "q8_0" else gguf.GGMLQuantizationType.F16
    for name, shape, small in tensors:
        values = prod(shape)
        size_bytes = values // VALUES_PER_BLOCK * noise.block_bytes if small else values * 4
        kind = quantised if small else gguf.GGMLQuantizationType.F32
        _add_info(writer, name, (shape, kind, size_bytes))
    _finish_header(writer)
    for name, shape, small in tensors:
        writer.write_tensor_data(noise.tensor(name, shape) if small else noise.plain(name, shape))
    writer.close()


def _open_writer(path: Path, architecture: str) -> "gguf.GGUFWriter":
    import gguf

    return gguf.GGUFWriter(path, architecture)


def _add_info(
    writer: "gguf.GGUFWriter", name: str, info: tuple[Sequence[int], "gguf.GGMLQuantizationType", int]
) -> None:
    import numpy as np

    shape, kind, size_bytes = info
    writer.add_tensor_info(name, tuple(reversed(shape)), np.dtype(np.float32), size_bytes, raw_dtype=kind)


def _finish_header(writer: "gguf.GGUFWriter") -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()


def _add_hyperparameters(writer: "gguf.GGUFWriter", shape: LlamaShape, context_length: int) -> None:
    writer.add_context_length(context_length)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_head_kv)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_layer_norm_rms_eps(1e-5)
    if shape.experts:
        writer.add_expert_count(shape.experts)
        writer.add_expert_used_count(shape.experts_used)


def _add_vocabulary(writer: "gguf.GGUFWriter") -> None:
    printable = ["▁", *(chr(code) for code in range(33, 127))]
    tokens = [*SPECIAL_TOKENS, *(f"<0x{byte:02X}>" for byte in range(256)), *printable]
    kinds = [_UNKNOWN, _CONTROL, _CONTROL, *[_BYTE] * 256, *[_NORMAL] * len(printable)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0 if kind != _NORMAL else -1.0 for kind in kinds])
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_vocab_size(len(tokens))


def _add_value(writer: "gguf.GGUFWriter", key: str, value: Any) -> None:  # noqa: ANN401  # a test's metadata
    if isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_array(key, value)
