"""
Build the tensor lists of published models from their configurations, as their headers have them.

Used by the fit of the roofline and by the tests (twenty architectures). Dimensions are those of the published
configurations, tensor names are llama.cpp's. The tests compare parameter counts with the published ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


Tensor = tuple[str, tuple[int, ...]]


@dataclass(frozen=True)
class Model:
    """One family's configuration; zeros and empty sets where a feature is absent."""

    family: str
    arch: str
    layers: int
    width: int
    ff: int
    heads: int
    kv: int
    head: int
    vocab: int
    tied: bool = False
    extras: frozenset[str] = frozenset()
    experts: int = 0
    used: int = 0
    expert_ff: int = 0
    shared_ff: int = 0
    dense_layers: int = 0  # leading layers without experts
    attention: tuple[int, ...] | None = None  # layers with full attention; None: all
    recurrent: tuple[int, ...] = ()
    ssm: dict[str, int] = field(default_factory=dict)  # inner, state, groups, conv, rank (value heads)
    mla: dict[str, int] = field(default_factory=dict)  # q, kv, rope, nope, value
    wide: dict[str, int] = field(default_factory=dict)  # gemma4's full layers: head, kv
    metadata: dict[str, Any] = field(default_factory=dict)

    def tensors(self) -> Iterator[Tensor]:
        """Yield name and shape (fastest dimension first) of every tensor."""
        yield "token_embd.weight", (self.width, self.vocab)
        yield "output_norm.weight", (self.width,)
        if not self.tied:
            yield "output.weight", (self.width, self.vocab)
        for index in range(self.layers):
            for name, shape in self._block(index):
                yield f"blk.{index}.{name}", shape
        for index in range(self.metadata.get("nextn_predict_layers", 0)):
            for name, shape in (
                *self._block(self.layers - 1),
                ("nextn.eh_proj.weight", (2 * self.width, self.width)),
            ):
                yield f"blk.{self.layers + index}.{name}", shape

    def header(self) -> dict[str, Any]:
        """Return the metadata that a converter writes."""
        layers = self.layers + self.metadata.get("nextn_predict_layers", 0)
        values: dict[str, Any] = {
            "block_count": layers,
            "embedding_length": self.width,
            "feed_forward_length": self.ff,
            "attention.head_count": self.heads,
            "attention.head_count_kv": self._kv_heads(),
            "attention.key_length": self.head,
            "attention.value_length": self.head,
            "vocab_size": self.vocab,
        }
        if self.experts:
            values |= {"expert_count": self.experts, "expert_used_count": self.used}
        if self.ssm:
            values |= {
                "ssm.inner_size": self.ssm["inner"],
                "ssm.state_size": self.ssm["state"],
                "ssm.group_count": self.ssm["groups"],
                "ssm.conv_kernel": self.ssm["conv"],
                "ssm.time_step_rank": self.ssm["rank"],
            }
        if self.mla:
            values |= {
                "attention.kv_lora_rank": self.mla["kv"],
                "attention.key_length_mla": self.mla["nope"] + self.mla["rope"],
                "attention.key_length": self.mla["kv"] + self.mla["rope"],
                "rope.dimension_count": self.mla["rope"],
            }
        values |= self.metadata
        head = {"general.architecture": self.arch, "general.name": self.family}
        return head | {f"{self.arch}.{key}": value for key, value in values.items()}

    def _kv_heads(self) -> int | list[int]:
        if self.wide:
            return [self.wide["kv"] if self._is_wide(i) else self.kv for i in range(self.layers)]
        if self.attention is not None and "per_layer_kv" in self.extras:
            return [self.kv if i in self.attention else 0 for i in range(self.layers)]
        return self.kv

    def _is_wide(self, index: int) -> bool:
        return bool(self.wide) and index % 6 == 5

    def _block(self, index: int) -> Iterator[Tensor]:
        yield "attn_norm.weight", (self.width,)
        if index in self.recurrent:
            yield from self._recurrent()
        if self.attention is None or index in self.attention:
            yield from self._mla() if self.mla else self._attention(index)
        if "one_thing_per_block" in self.extras:
            mixes = index in self.recurrent or (self.attention is not None and index in self.attention)
            if mixes:
                return
        elif self.ff or self.experts:
            yield "ffn_norm.weight", (self.width,)
        if self.experts and index >= self.dense_layers:
            yield from self._experts()
        if self.ff and (
            not self.experts or index < self.dense_layers or "dense_beside_experts" in self.extras
        ):
            yield from self._dense()

    def _attention(self, index: int) -> Iterator[Tensor]:
        head = self.wide["head"] if self._is_wide(index) else self.head
        kv = self.wide["kv"] if self._is_wide(index) else self.kv
        gate = 2 if "gated_query" in self.extras else 1
        if "fused_qkv" in self.extras:
            yield "attn_qkv.weight", (self.width, head * (self.heads + 2 * kv))
        else:
            yield "attn_q.weight", (self.width, gate * head * self.heads)
            yield "attn_k.weight", (self.width, head * kv)
            if not self._is_wide(index):
                yield "attn_v.weight", (self.width, head * kv)
        yield "attn_output.weight", (head * self.heads, self.width)
        if "bias" in self.extras:
            yield "attn_q.bias", (head * self.heads,)
            yield "attn_k.bias", (head * kv,)
            yield "attn_v.bias", (head * kv,)
        if "sinks" in self.extras:
            yield "attn_output.bias", (self.width,)
            yield "attn_sinks.weight", (self.heads,)
        if "qk_norm" in self.extras:
            yield "attn_q_norm.weight", (head,)
            yield "attn_k_norm.weight", (head,)
        if "post_norm" in self.extras:
            yield "post_attention_norm.weight", (self.width,)
            yield "post_ffw_norm.weight", (self.width,)
        if self.wide:
            yield "layer_output_scale.weight", (1,)

    def _mla(self) -> Iterator[Tensor]:
        q, kv, rope, nope, value = (self.mla[key] for key in ("q", "kv", "rope", "nope", "value"))
        yield "attn_q_a.weight", (self.width, q)
        yield "attn_q_a_norm.weight", (q,)
        yield "attn_q_b.weight", (q, self.heads * (nope + rope))
        yield "attn_kv_a_mqa.weight", (self.width, kv + rope)
        yield "attn_kv_a_norm.weight", (kv,)
        yield "attn_k_b.weight", (nope, kv, self.heads)
        yield "attn_v_b.weight", (kv, value, self.heads)
        yield "attn_output.weight", (self.heads * value, self.width)

    def _recurrent(self) -> Iterator[Tensor]:
        inner, state, groups, rank = (self.ssm[key] for key in ("inner", "state", "groups", "rank"))
        channels = inner + 2 * groups * state
        if "delta_net" in self.extras:
            yield "attn_qkv.weight", (self.width, channels)
            yield "attn_gate.weight", (self.width, inner)
            if "split_beta" in self.extras:
                yield "ssm_beta.weight", (self.width, rank)
                yield "ssm_alpha.weight", (self.width, rank)
            else:
                yield "ssm_ba.weight", (self.width, 2 * rank)
        else:
            yield "ssm_in.weight", (self.width, inner + channels + rank)
            yield "ssm_d", (1, rank)
        yield "ssm_conv1d.weight", (self.ssm["conv"], channels)
        yield "ssm_a", (1, rank)
        yield "ssm_dt.bias", (rank,)
        yield "ssm_norm.weight", (state if "delta_net" in self.extras else inner,)
        yield "ssm_out.weight", (inner, self.width)

    def _dense(self) -> Iterator[Tensor]:
        if "fused_gate" in self.extras:
            yield "ffn_up.weight", (self.width, 2 * self.ff)
        else:
            if "no_gate" not in self.extras:
                yield "ffn_gate.weight", (self.width, self.ff)
            yield "ffn_up.weight", (self.width, self.ff)
        yield "ffn_down.weight", (self.ff, self.width)

    def _experts(self) -> Iterator[Tensor]:
        yield "ffn_gate_inp.weight", (self.width, self.experts)
        if "merged_experts" in self.extras:
            yield "ffn_gate_up_exps.weight", (self.width, 2 * self.expert_ff, self.experts)
        else:
            if "no_gate" not in self.extras:
                yield "ffn_gate_exps.weight", (self.width, self.expert_ff, self.experts)
            yield "ffn_up_exps.weight", (self.width, self.expert_ff, self.experts)
        yield "ffn_down_exps.weight", (self.expert_ff, self.width, self.experts)
        if "sinks" in self.extras:
            yield "ffn_gate_inp.bias", (self.experts,)
            yield "ffn_gate_exps.bias", (self.expert_ff, self.experts)
            yield "ffn_up_exps.bias", (self.expert_ff, self.experts)
            yield "ffn_down_exps.bias", (self.width, self.experts)
        if "probs_bias" in self.extras:
            yield "exp_probs_b.bias", (self.experts,)
        if "dense_beside_experts" in self.extras:
            for name in ("pre_ffw_norm_2.weight", "post_ffw_norm_1.weight", "post_ffw_norm_2.weight"):
                yield name, (self.width,)
            yield "ffn_gate_inp.scale", (self.width,)
        if self.shared_ff:
            if "delta_net" in self.extras:
                yield "ffn_gate_inp_shexp.weight", (self.width,)
            if "no_gate" not in self.extras:
                yield "ffn_gate_shexp.weight", (self.width, self.shared_ff)
            yield "ffn_up_shexp.weight", (self.width, self.shared_ff)
            yield "ffn_down_shexp.weight", (self.shared_ff, self.width)


def _every(step: int, layers: int) -> tuple[int, ...]:
    return tuple(range(step - 1, layers, step))


def _others(chosen: tuple[int, ...], layers: int) -> tuple[int, ...]:
    return tuple(index for index in range(layers) if index not in chosen)


def _delta(inner: int, groups: int, rank: int) -> dict[str, int]:
    return {"inner": inner, "state": 128, "groups": groups, "conv": 4, "rank": rank}


_QK = frozenset({"qk_norm"})
_BIAS = frozenset({"bias"})
_POST = frozenset({"post_norm"})
_NEXT = frozenset({"delta_net", "qk_norm", "gated_query"})
_QWEN35 = _NEXT | {"split_beta"}
_NANO_ATTENTION = (5, 12, 19, 26, 33, 42)
_NANO_EXPERTS = (1, 3, 6, 8, 10, 13, 15, 17, 20, 22, 24, 27, 29, 31, 34, 36, 38, 40, 43, 45, 47, 49, 51)
_NANO_MAMBA = tuple(i for i in range(52) if i not in _NANO_ATTENTION + _NANO_EXPERTS)

CATALOGUE: tuple[Model, ...] = (
    Model("llama-2-7b", "llama", 32, 4096, 11008, 32, 32, 128, 32000),
    Model("codellama-70b", "llama", 80, 8192, 28672, 64, 8, 128, 32016),
    Model("tinyllama-1.1b", "llama", 22, 2048, 5632, 32, 4, 64, 32000),
    Model("llama-3.2-1b", "llama", 16, 2048, 8192, 32, 8, 64, 128256, tied=True),
    Model("llama-3.2-3b", "llama", 28, 3072, 8192, 24, 8, 128, 128256, tied=True),
    Model("llama-3.1-8b", "llama", 32, 4096, 14336, 32, 8, 128, 128256),
    Model("llama-3.3-70b", "llama", 80, 8192, 28672, 64, 8, 128, 128256),
    Model("mistral-7b", "llama", 32, 4096, 14336, 32, 8, 128, 32768),
    Model("mistral-small-24b", "llama", 40, 5120, 32768, 32, 8, 128, 131072),
    Model("solar-10.7b", "llama", 48, 4096, 14336, 32, 8, 128, 32000),
    Model("devstral-2-123b", "mistral3", 88, 12288, 28672, 96, 8, 128, 131072),
    Model("command-r-plus", "command-r", 64, 12288, 33792, 96, 8, 128, 256000, tied=True, extras=_QK),
    Model(
        "phi-4", "phi3", 40, 5120, 17920, 40, 10, 128, 100352, extras=frozenset({"fused_qkv", "fused_gate"})
    ),
    Model("qwen2.5-7b", "qwen2", 28, 3584, 18944, 28, 4, 128, 152064, extras=_BIAS),
    Model("qwen2.5-14b", "qwen2", 48, 5120, 13824, 40, 8, 128, 152064, extras=_BIAS),
    Model("qwen2.5-72b", "qwen2", 80, 8192, 29568, 64, 8, 128, 152064, extras=_BIAS),
    Model("qwen3-8b", "qwen3", 36, 4096, 12288, 32, 8, 128, 151936, extras=_QK),
    Model("qwen3-14b", "qwen3", 40, 5120, 17408, 40, 8, 128, 151936, extras=_QK),
    Model("qwen3-32b", "qwen3", 64, 5120, 25600, 64, 8, 128, 151936, extras=_QK),
    Model(
        "qwen3.5-27b",
        "qwen35",
        64,
        5120,
        17408,
        24,
        4,
        256,
        248320,
        extras=_QWEN35,
        attention=_every(4, 64),
        recurrent=_others(_every(4, 64), 64),
        ssm=_delta(6144, 16, 48),
    ),
    Model(
        "gemma-2-9b",
        "gemma2",
        42,
        3584,
        14336,
        16,
        8,
        256,
        256000,
        tied=True,
        extras=_POST,
        metadata={"attention.sliding_window": 4096},
    ),
    Model(
        "gemma-2-27b",
        "gemma2",
        46,
        4608,
        36864,
        32,
        16,
        128,
        256000,
        tied=True,
        extras=_POST,
        metadata={"attention.sliding_window": 4096},
    ),
    Model(
        "gemma-3-4b",
        "gemma3",
        34,
        2560,
        10240,
        8,
        4,
        256,
        262208,
        tied=True,
        extras=_POST | _QK,
        metadata={"attention.sliding_window": 1024},
    ),
    Model(
        "gemma-3-27b",
        "gemma3",
        62,
        5376,
        21504,
        32,
        16,
        128,
        262208,
        tied=True,
        extras=_POST | _QK,
        metadata={"attention.sliding_window": 1024},
    ),
    Model(
        "gemma-4-31b",
        "gemma4",
        60,
        5376,
        21504,
        32,
        16,
        256,
        262144,
        tied=True,
        extras=_POST | _QK,
        wide={"head": 512, "kv": 4},
        metadata={
            "attention.sliding_window": 1024,
            "attention.sliding_window_pattern": [i % 6 != 5 for i in range(60)],
            "attention.key_length": 512,
            "attention.value_length": 512,
            "attention.key_length_swa": 256,
            "attention.value_length_swa": 256,
        },
    ),
    Model(
        "gemma-4-26b-a4b",
        "gemma4",
        30,
        2816,
        2112,
        16,
        8,
        256,
        262144,
        tied=True,
        extras=_POST | _QK | {"merged_experts", "dense_beside_experts"},
        experts=128,
        used=8,
        expert_ff=704,
        wide={"head": 512, "kv": 2},
        metadata={
            "attention.sliding_window": 1024,
            "attention.sliding_window_pattern": [i % 6 != 5 for i in range(30)],
            "attention.key_length": 512,
            "attention.value_length": 512,
            "attention.key_length_swa": 256,
            "attention.value_length_swa": 256,
        },
    ),
    Model(
        "gpt-oss-120b",
        "gpt-oss",
        36,
        2880,
        0,
        64,
        8,
        64,
        201088,
        extras=frozenset({"bias", "sinks"}),
        experts=128,
        used=4,
        expert_ff=2880,
        metadata={"attention.sliding_window": 128},
    ),
    Model(
        "gpt-oss-20b",
        "gpt-oss",
        24,
        2880,
        0,
        64,
        8,
        64,
        201088,
        extras=frozenset({"bias", "sinks"}),
        experts=32,
        used=4,
        expert_ff=2880,
        metadata={"attention.sliding_window": 128},
    ),
    Model(
        "qwen3-30b-a3b",
        "qwen3moe",
        48,
        2048,
        0,
        32,
        4,
        128,
        151936,
        extras=_QK,
        experts=128,
        used=8,
        expert_ff=768,
    ),
    Model(
        "qwen3-235b-a22b",
        "qwen3moe",
        94,
        4096,
        0,
        64,
        4,
        128,
        151936,
        extras=_QK,
        experts=128,
        used=8,
        expert_ff=1536,
    ),
    Model(
        "qwen3-next-80b-a3b",
        "qwen3next",
        48,
        2048,
        0,
        16,
        2,
        256,
        151936,
        extras=_NEXT,
        experts=512,
        used=10,
        expert_ff=512,
        shared_ff=512,
        attention=_every(4, 48),
        recurrent=_others(_every(4, 48), 48),
        ssm=_delta(4096, 16, 32),
    ),
    Model(
        "qwen3.5-122b-a10b",
        "qwen35moe",
        48,
        3072,
        0,
        32,
        2,
        256,
        248320,
        extras=_QWEN35,
        experts=256,
        used=8,
        expert_ff=1024,
        shared_ff=1024,
        attention=_every(4, 48),
        recurrent=_others(_every(4, 48), 48),
        ssm=_delta(8192, 16, 64),
    ),
    Model(
        "glm-4.7-flash",
        "deepseek2",
        47,
        2048,
        10240,
        20,
        1,
        256,
        154880,
        experts=64,
        used=4,
        expert_ff=1536,
        shared_ff=1536,
        dense_layers=1,
        extras=frozenset({"probs_bias"}),
        mla={"q": 768, "kv": 512, "rope": 64, "nope": 192, "value": 256},
    ),
    Model(
        "glm-4.6",
        "glm4moe",
        92,
        5120,
        12288,
        96,
        8,
        128,
        151552,
        extras=frozenset({"qk_norm", "bias", "probs_bias"}),
        experts=160,
        used=8,
        expert_ff=1536,
        shared_ff=1536,
        dense_layers=3,
        metadata={"nextn_predict_layers": 1},
    ),
    Model(
        "llama-4-scout",
        "llama4",
        48,
        5120,
        0,
        40,
        8,
        128,
        202048,
        experts=16,
        used=1,
        expert_ff=8192,
        shared_ff=8192,
    ),
    Model(
        "minimax-m2",
        "minimax-m2",
        62,
        3072,
        0,
        48,
        8,
        128,
        200064,
        extras=frozenset({"qk_norm", "probs_bias"}),
        experts=256,
        used=8,
        expert_ff=1536,
    ),
    Model(
        "hunyuan-a13b",
        "hunyuan-moe",
        32,
        4096,
        0,
        32,
        8,
        128,
        128167,
        tied=True,
        extras=_QK,
        experts=64,
        used=8,
        expert_ff=3072,
        shared_ff=3072,
    ),
    Model(
        "dots.llm1",
        "dots1",
        62,
        4096,
        10944,
        32,
        32,
        128,
        152064,
        extras=_QK | {"probs_bias"},
        experts=128,
        used=6,
        expert_ff=1408,
        shared_ff=2816,
        dense_layers=1,
    ),
    Model(
        "ernie-4.5-21b-a3b",
        "ernie4_5-moe",
        28,
        2560,
        12288,
        20,
        4,
        128,
        103424,
        tied=True,
        experts=64,
        used=6,
        expert_ff=1536,
        shared_ff=3072,
        dense_layers=1,
        extras=frozenset({"probs_bias"}),
    ),
    Model(
        "ling-mini-2.0",
        "bailingmoe2",
        20,
        2048,
        5120,
        16,
        4,
        128,
        157184,
        experts=256,
        used=8,
        expert_ff=512,
        shared_ff=512,
        dense_layers=1,
        extras=_QK | {"fused_qkv", "probs_bias"},
    ),
    Model(
        "nemotron-3-nano-30b-a3b",
        "nemotron_h_moe",
        52,
        2688,
        0,
        32,
        2,
        128,
        131072,
        extras=frozenset({"one_thing_per_block", "no_gate", "per_layer_kv", "probs_bias"}),
        experts=128,
        used=6,
        expert_ff=1856,
        shared_ff=3712,
        attention=_NANO_ATTENTION,
        recurrent=_NANO_MAMBA,
        ssm={"inner": 4096, "state": 128, "groups": 8, "conv": 4, "rank": 64},
    ),
    Model(
        "granite-4.0-h-tiny",
        "granitehybrid",
        40,
        1536,
        0,
        12,
        4,
        128,
        100352,
        tied=True,
        extras=frozenset({"per_layer_kv"}),
        experts=64,
        used=6,
        expert_ff=512,
        shared_ff=1024,
        attention=(5, 15, 25, 35),
        recurrent=_others((5, 15, 25, 35), 40),
        ssm={"inner": 3072, "state": 128, "groups": 1, "conv": 4, "rank": 48},
    ),
    Model(
        "falcon-h1-7b",
        "falcon-h1",
        44,
        3072,
        12288,
        12,
        2,
        128,
        130048,
        recurrent=tuple(range(44)),
        ssm={"inner": 3072, "state": 256, "groups": 1, "conv": 4, "rank": 24},
    ),
    Model(
        "mamba-2-2.7b",
        "mamba2",
        64,
        2560,
        0,
        0,
        0,
        0,
        50288,
        tied=True,
        attention=(),
        recurrent=tuple(range(64)),
        ssm={"inner": 5120, "state": 128, "groups": 1, "conv": 4, "rank": 80},
    ),
    Model(
        "jamba-mini",
        "jamba",
        32,
        4096,
        14336,
        32,
        8,
        128,
        65536,
        extras=frozenset({"per_layer_kv"}),
        attention=tuple(range(4, 32, 8)),
        recurrent=_others(tuple(range(4, 32, 8)), 32),
        ssm={"inner": 8192, "state": 16, "groups": 0, "conv": 4, "rank": 256},
    ),
)
BY_FAMILY = {model.family: model for model in CATALOGUE}
