"""
The size of the KV cache and the recurrent state, layer by layer.

Sources: `llama_hparams` and `llama_kv_cache*` in llama.cpp (windows, MLA, recurrent sizes). The cache is
assumed to be f16, llama-server's default.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from strixfleet.speed.model.hyperparameters import Hyperparameters


_F16_BYTES, _F32_BYTES = 2, 4
_MICRO_BATCH = 512  # llama-server's default; windowed layers keep window + micro-batch
_CACHE_PADDING = 256
# One layer in so many has full attention, the others a window; for files that do not say it themselves
_WINDOW_PERIODS = {
    "afmoe": 4,
    "cohere2": 4,
    "cohere2moe": 4,
    "exaone-moe": 4,
    "exaone4": 4,
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "gemma4": 6,
    "gpt-oss": 2,
    "laguna": 4,
    "llama4": 4,
    "mellum": 4,
    "muse-glimmer": 4,
    "olmo2": 4,
    "plamo3": 8,
    "smallthinker": 4,
}
# Constants in llama.cpp, not in the files
_DEFAULT_WINDOWS = {"exaone-moe": 128, "gemma2": 4096, "llama4": 8192, "smallthinker": 4096}
_FULL_FIRST = frozenset({"cohere2moe", "laguna", "smallthinker"})


@dataclass(frozen=True, slots=True)
class KvLayer:
    """The cache of one layer: bytes per token, and the tokens in its window (None: all)."""

    bytes_per_token: int
    window: int | None

    def held_bytes(self, context: int) -> int:
        """Return the memory that the layer's cache takes."""
        if self.window is not None:
            context = min(context, -(-(self.window + _MICRO_BATCH) // _CACHE_PADDING) * _CACHE_PADDING)
        return self.bytes_per_token * context

    def read_bytes(self, depth: int) -> int:
        """Return the bytes that one token reads at this depth."""
        return self.bytes_per_token * (depth if self.window is None else min(depth, self.window))


def kv_layers(hyper: Hyperparameters, blocks: Sequence[AbstractSet[str]]) -> tuple[KvLayer, ...]:
    """List the layers that cache keys and values; `blocks` has the tensor names of each layer that runs."""
    layers: list[KvLayer] = []
    windows = _windows(hyper)
    sizes = _bytes_per_token(hyper, windows)
    first_sharing = len(blocks) - hyper.number("attention.shared_kv_layers", 0)
    for index, names in enumerate(blocks):
        if index < first_sharing and sizes[index] and _caches(names):
            layers.append(KvLayer(sizes[index], windows[index]))
    return tuple(layers)


def is_recurrent(names: AbstractSet[str]) -> bool:
    """Tell whether a layer keeps a state of fixed size: Mamba, gated delta net, RWKV."""
    return any(name.startswith(("ssm_", "time_mix_")) for name in names)


def state_bytes_per_layer(hyper: Hyperparameters) -> int:
    """
    Return the recurrent state of one such layer, which each token reads and writes.

    Mamba and delta nets: state_size x inner_size, and conv_kernel - 1 columns of
    inner_size + 2 x groups x state. KDA and RWKV: head_size squared for each head.
    """
    inner, state = hyper.number("ssm.inner_size", 0), hyper.number("ssm.state_size", 0)
    columns = max(0, hyper.number("ssm.conv_kernel", 1) - 1)
    width = hyper.number("embedding_length", 0)
    if kda := hyper.number("kda.head_dim", 0):
        inner = kda * hyper.number("attention.head_count", 1)
        return _F32_BYTES * (inner * kda + 3 * columns * inner)
    if head := hyper.number("wkv.head_size", 0):
        return _F32_BYTES * (width * head + hyper.number("token_shift_count", 2) * width)
    convolution = columns * (inner + 2 * hyper.number("ssm.group_count", 0) * state)
    return _F32_BYTES * (inner * state + convolution)


def _caches(names: AbstractSet[str]) -> bool:
    """Tell whether a layer has attention; in delta nets, `attn_qkv` is the recurrent projection."""
    if is_recurrent(names):
        return "attn_k.weight" in names
    if any(name.startswith("shortconv.") for name in names):
        return False
    return any(name.startswith(("attn_q", "attn_k")) and "norm" not in name for name in names)


def _windows(hyper: Hyperparameters) -> tuple[int | None, ...]:
    default = _DEFAULT_WINDOWS.get(hyper.architecture, 0)
    window = hyper.number("attention.sliding_window", default)
    flags = hyper.flags("attention.sliding_window_pattern")
    if window and flags is not None:
        return tuple(window if flag else None for flag in flags)
    period = hyper.number("attention.sliding_window_pattern", _WINDOW_PERIODS.get(hyper.architecture, 0))
    if not window or period < 1:
        return (None,) * hyper.layers
    full = 0 if hyper.architecture in _FULL_FIRST else period - 1
    return tuple(None if index % period == full else window for index in range(hyper.layers))


def _bytes_per_token(hyper: Hyperparameters, windows: Sequence[int | None]) -> tuple[int, ...]:
    """Return K and V of each layer; latent attention (MLA) caches one latent vector with its rotary part."""
    latent = hyper.number("attention.kv_lora_rank", 0)
    if latent and hyper.number("attention.key_length_mla", 0):
        width = latent + hyper.number("rope.dimension_count", 64)
        return tuple(
            _F16_BYTES * width * bool(count) for count in hyper.per_layer("attention.head_count_kv", 1)
        )
    heads = hyper.per_layer("attention.head_count", 1)
    kv_heads = hyper.per_layer("attention.head_count_kv", max(heads))
    head_dim = hyper.number("embedding_length", 0) // max(1, *heads)
    key = hyper.number("attention.key_length", head_dim)
    value = hyper.number("attention.value_length", key)
    narrow = (
        hyper.number("attention.key_length_swa", key),
        hyper.number("attention.value_length_swa", value),
    )
    widths = [sum(narrow) if window is not None else key + value for window in windows]
    return tuple(_F16_BYTES * count * width for count, width in zip(kv_heads, widths, strict=True))
