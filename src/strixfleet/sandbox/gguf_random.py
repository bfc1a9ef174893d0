"""The tensors of a random Llama of a given size, and the noise that fills them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import TYPE_CHECKING, Any, Literal, TypedDict


if TYPE_CHECKING:
    import numpy as np


Quant = Literal["q8_0", "f16"]

VALUES_PER_BLOCK = 32
_NOISE_BLOCKS = 131_071  # a prime number, so that repeated noise does not align with rows
SPECIAL_TOKENS = ("<unk>", "<s>", "</s>")
_SILENT_TOKENS = (
    len(SPECIAL_TOKENS) + 256
)  # never the most likely: text stays printable and does not end early
BYTES_PER_VALUE = {"q8_0": 34 / 32, "f16": 2.0}


class LlamaOptions(TypedDict, total=False):
    """Options of `write_random_llama`; everything else is derived from the size."""

    size_bytes_at_least: int  # adds layers, or feed-forward width if layers are given, up to this size
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
class LlamaShape:
    """Dimensions in llama.cpp's names."""

    n_layer: int
    n_embd: int
    n_ff: int
    head_dim: int
    experts: int
    experts_used: int

    @property
    def n_head(self) -> int:
        """Count the query heads."""
        return self.n_embd // self.head_dim

    @property
    def n_head_kv(self) -> int:
        """Count the key-value heads: a quarter of the query heads."""
        return max(1, self.n_head // 4)


def choose_shape(options: LlamaOptions, bytes_per_value: float) -> LlamaShape:
    """Add layers, or feed-forward width if the layers are given, until the size is reached."""
    want_values = options.get("size_bytes_at_least", 0) / bytes_per_value
    large, middling = 200e6, 20e6
    n_embd = options.get("n_embd", 2048 if want_values > large else 1024 if want_values > middling else 256)
    experts = options.get("experts", 0)
    head_dim = 64 if n_embd >= 512 else 32  # noqa: PLR2004  # a small model has several heads, too
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
    return LlamaShape(n_layer, n_embd, n_ff, head_dim, experts, used)


def _round_up(value: float, to: int = 256) -> int:
    return -int(-value // to) * to


def tensors(shape: LlamaShape) -> Iterator[tuple[str, tuple[int, ...], bool]]:
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


class Noise:
    """Gaussian noise, quantised once and repeated from a different start for each tensor."""

    def __init__(self, quant: Quant, seed: int) -> None:
        import gguf
        import numpy as np

        self.quant = quant
        self._random = np.random.default_rng(seed)
        values = self._random.standard_normal((_NOISE_BLOCKS, VALUES_PER_BLOCK), dtype=np.float32)
        self._scale = 1.0
        if quant == "q8_0":
            self._blocks = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
        else:
            self._blocks = values.astype(np.float16).view(np.uint8)

    @property
    def block_bytes(self) -> int:
        """Return the size of 32 values."""
        return int(self._blocks.shape[1])

    def tensor(self, name: str, shape: Sequence[int]) -> "np.ndarray[Any, Any]":
        """Return the tensor's bytes: standard deviation 1/sqrt(row), four times that for the output head."""
        import numpy as np

        blocks = prod(shape) // VALUES_PER_BLOCK
        start = int(self._random.integers(_NOISE_BLOCKS))
        data = np.take(self._blocks, np.arange(start, start + blocks), axis=0, mode="wrap")
        gain = (4.0 if name == "output.weight" else 1.0) / sqrt(shape[0])
        if name == "token_embd.weight":
            gain = 1.0
        scaled = data[:, :2] if self.quant == "q8_0" else data  # a Q8_0 block starts with its scale
        scaled.view(np.float16)[...] *= np.float16(gain)
        if name == "output.weight":
            data[: _SILENT_TOKENS * shape[0] // VALUES_PER_BLOCK] = 0
        return data.reshape(-1)

    def plain(self, name: str, shape: Sequence[int]) -> "np.ndarray[Any, Any]":
        """Return a tensor kept in float32: ones for a norm, noise for a router."""
        import numpy as np

        if "norm" in name:
            return np.ones(prod(shape), dtype=np.float32)
        return self._random.standard_normal(prod(shape), dtype=np.float32) / np.float32(sqrt(shape[0]))
