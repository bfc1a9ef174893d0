"""
Writes GGUF files for tests and the demo: random-weight Llamas that llama.cpp runs, and bare headers.

A random model speaks nonsense at the speed of a real one of its size: prefill, decode, load time and memory
are true, the words are not. Same options, same bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack


if TYPE_CHECKING:
    import gguf
    import numpy as np


Quant = Literal["q8_0", "f16"]

_VALUES_PER_BLOCK = 32
_NOISE_BLOCKS = 131_071  # prime, so that repeated noise does not line up with rows
_SPECIAL_TOKENS = ("<unk>", "<s>", "</s>")
_SILENT_TOKENS = len(_SPECIAL_TOKENS) + 256  # never the likeliest: text stays printable and never ends early
_BYTES_PER_VALUE = {"q8_0": 34 / 32, "f16": 2.0}
_UNKNOWN, _CONTROL, _BYTE, _NORMAL = 2, 3, 6, 1  # gguf.TokenType


class LlamaOptions(TypedDict, total=False):
    """What `write_random_llama` may be told; all else is derived from the size."""

    size_bytes_at_least: int  # layers (or the feed-forward width, when layers are given) grow until reached
    n_layer: int
    n_embd: int
    n_ff: int
    quant: Quant
    experts: int  # 0: dense
    experts_used: int
    seed: int
    name: str
    context_length: int


@dataclass(frozen=True, slots=True)
class _Shape:
    n_layer: int
    n_embd: int
    n_ff: int
    head_dim: int
    experts: int
    experts_used: int

    @property
    def n_head(self) -> int:
        return self.n_embd // self.head_dim

    @property
    def n_head_kv(self) -> int:
        return max(1, self.n_head // 4)


def write_random_llama(path: Path, **options: Unpack[LlamaOptions]) -> None:
    """
    Write a random-weight Llama, dense or mixture of experts, that real llama.cpp loads and generates from.

    The vocabulary has 354 tokens: three special, 256 bytes, 95 printable characters. No chat template.
    """
    quant: Quant = options.get("quant", "q8_0")
    seed = options.get("seed", 0)
    shape = _choose_shape(options, _BYTES_PER_VALUE[quant])
    writer = _open_writer(path, "llama")
    writer.add_name(options.get("name", path.stem))
    _add_hyperparameters(writer, shape, options.get("context_length", 8192))
    writer.add_file_type({"q8_0": 7, "f16": 1}[quant])
    _add_vocabulary(writer)
    _write_tensors(writer, list(_tensors(shape)), _Noise(quant, seed))


def write_header_only(
    path: Path,
    metadata: Mapping[str, Any],
    tensors: Sequence[tuple[str, Sequence[int], str]],
) -> None:
    """
    Write a GGUF of any architecture whose tensor data is a hole: full size on paper, kilobytes on disk.

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
        tensor_bytes = _product(shape) // block_values * block_bytes
        _add_info(writer, name, (shape, kind, tensor_bytes))
        size_bytes += -(-tensor_bytes // 32) * 32
    _finish_header(writer)
    writer.close()
    header_bytes = -(-path.stat().st_size // 32) * 32
    with path.open("r+b") as file:
        file.truncate(header_bytes + size_bytes)


def _choose_shape(options: LlamaOptions, bytes_per_value: float) -> _Shape:
    """Grow the layers, or the feed-forward width when the layers are given, until the size is reached."""
    want_values = options.get("size_bytes_at_least", 0) / bytes_per_value
    large, middling = 200e6, 20e6
    n_embd = options.get("n_embd", 2048 if want_values > large else 1024 if want_values > middling else 256)
    experts = options.get("experts", 0)
    head_dim = 64 if n_embd >= 512 else 32  # noqa: PLR2004  # a small model still gets several heads
    attention_values = 2.5 * n_embd * n_embd
    copies = max(1, experts)
    n_ff = options.get("n_ff", _round_up(2.75 * n_embd / (4 if experts else 1)))
    if "n_layer" in options:
        n_layer = options["n_layer"]
        short = want_values / n_layer - attention_values - 3 * copies * n_embd * n_ff
        n_ff += _round_up(short / (3 * copies * n_embd)) if short > 0 else 0
    else:
        n_layer = max(2, -int(-want_values // (attention_values + 3 * copies * n_embd * n_ff)))
    used = options.get("experts_used", 2) if experts else 0
    return _Shape(n_layer, n_embd, n_ff, head_dim, experts, used)


def _round_up(value: float, to: int = 256) -> int:
    return -int(-value // to) * to


def _product(shape: Sequence[int]) -> int:
    total = 1
    for extent in shape:
        total *= extent
    return total


def _tensors(shape: _Shape) -> Iterator[tuple[str, tuple[int, ...], bool]]:
    """Yield (name, shape in GGUF order, whether it is quantised)."""
    n_embd, n_ff, n_vocab = shape.n_embd, shape.n_ff, _SILENT_TOKENS + 95
    kv_width = shape.n_head_kv * shape.head_dim
    yield "token_embd.weight", (n_embd, n_vocab), True
    yield "output_norm.weight", (n_embd,), False
    yield "output.weight", (n_embd, n_vocab), True
    for layer in range(shape.n_layer):
        block = f"blk.{layer}"
        yield f"{block}.attn_norm.weight", (n_embd,), False
        yield f"{block}.attn_q.weight", (n_embd, n_embd), True
        yield f"{block}.attn_k.weight", (n_embd, kv_width), True
        yield f"{block}.attn_v.weight", (n_embd, kv_width), True
        yield f"{block}.attn_output.weight", (n_embd, n_embd), True
        yield f"{block}.ffn_norm.weight", (n_embd,), False
        tail = (shape.experts,) if shape.experts else ()
        suffix = "_exps" if shape.experts else ""
        if shape.experts:
            yield f"{block}.ffn_gate_inp.weight", (n_embd, shape.experts), False
        yield f"{block}.ffn_gate{suffix}.weight", (n_embd, n_ff, *tail), True
        yield f"{block}.ffn_up{suffix}.weight", (n_embd, n_ff, *tail), True
        yield f"{block}.ffn_down{suffix}.weight", (n_ff, n_embd, *tail), True


class _Noise:
    """Gaussian noise, quantised once and repeated from a different start for each tensor."""

    def __init__(self, quant: Quant, seed: int) -> None:
        import gguf
        import numpy as np

        self.quant = quant
        self._random = np.random.default_rng(seed)
        values = self._random.standard_normal((_NOISE_BLOCKS, _VALUES_PER_BLOCK), dtype=np.float32)
        self._scale = 1.0
        if quant == "q8_0":
            self._blocks = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
        else:
            self._blocks = values.astype(np.float16).view(np.uint8)

    @property
    def block_bytes(self) -> int:
        return int(self._blocks.shape[1])

    def tensor(self, name: str, shape: Sequence[int]) -> "np.ndarray[Any, Any]":
        """Give the tensor's bytes: standard deviation 1/sqrt(row), four times that for the output head."""
        import numpy as np

        blocks = _product(shape) // _VALUES_PER_BLOCK
        start = int(self._random.integers(_NOISE_BLOCKS))
        data = np.take(self._blocks, np.arange(start, start + blocks), axis=0, mode="wrap")
        gain = (4.0 if name == "output.weight" else 1.0) / sqrt(shape[0])
        if name == "token_embd.weight":
            gain = 1.0
        scaled = data[:, :2] if self.quant == "q8_0" else data  # a Q8_0 block starts with its scale
        scaled.view(np.float16)[...] *= np.float16(gain)
        if name == "output.weight":
            data[: _SILENT_TOKENS * shape[0] // _VALUES_PER_BLOCK] = 0
        return data.reshape(-1)

    def plain(self, name: str, shape: Sequence[int]) -> "np.ndarray[Any, Any]":
        """Give a tensor kept in float32: ones for a norm, noise for a router."""
        import numpy as np

        if "norm" in name:
            return np.ones(_product(shape), dtype=np.float32)
        return self._random.standard_normal(_product(shape), dtype=np.float32) / np.float32(sqrt(shape[0]))


def _write_tensors(
    writer: "gguf.GGUFWriter", tensors: list[tuple[str, tuple[int, ...], bool]], noise: _Noise
) -> None:
    import gguf

    quantised = gguf.GGMLQuantizationType.Q8_0 if noise.quant == "q8_0" else gguf.GGMLQuantizationType.F16
    for name, shape, small in tensors:
        values = _product(shape)
        size_bytes = values // _VALUES_PER_BLOCK * noise.block_bytes if small else values * 4
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


def _add_hyperparameters(writer: "gguf.GGUFWriter", shape: _Shape, context_length: int) -> None:
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
    tokens = [*_SPECIAL_TOKENS, *(f"<0x{byte:02X}>" for byte in range(256)), *printable]
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
