"""
Return the type that llama.cpp's quantiser gives each tensor of a model, from the label of the file.

Source: `llama_tensor_get_type` in llama.cpp (without importance matrix). Labels that start with UD- are
Unsloth's, whose rule is not published; it is approximated in `dynamic`.
"""

from math import prod
from typing import NamedTuple

from model_catalogue import Model


BITS = {
    "F32": 32.0,
    "F16": 16.0,
    "BF16": 16.0,
    "Q8_0": 8.5,
    "Q6_K": 6.5625,
    "Q5_K": 5.5,
    "Q5_0": 5.5,
    "Q5_1": 6.0,
    "Q4_K": 4.5,
    "Q4_0": 4.5,
    "Q4_1": 5.0,
    "IQ4_NL": 4.5,
    "MXFP4": 4.25,
    "Q3_K": 3.4375,
    "Q2_K": 2.625,
    "IQ2_XXS": 2.0625,
    "IQ3_XXS": 3.0625,
}
_FALLBACK = {"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
_BASE = {
    "Q8_0": "Q8_0",
    "Q8_K_XL": "Q8_0",
    "Q6_K": "Q6_K",
    "Q6_K_L": "Q6_K",
    "Q6_K_XL": "Q6_K",
    "Q5_K_M": "Q5_K",
    "Q5_K_XL": "Q5_K",
    "Q4_K_M": "Q4_K",
    "Q4_K": "Q4_K",
    "Q4_K_S": "Q4_K",
    "Q4_K_XL": "Q4_K",
    "Q4_0": "Q4_0",
    "Q3_K_M": "Q3_K",
    "Q3_K_S": "Q3_K",
    "Q3_K_XL": "Q3_K",
    "IQ2_XXS": "IQ2_XXS",
    "IQ3_XXS": "IQ3_XXS",
    "BF16": "BF16",
    "F16": "F16",
    "MXFP4": "MXFP4",
    "MXFP4_MOE": "MXFP4",
}


class Typed(NamedTuple):
    """A tensor and the type that the quantiser chooses for it."""

    name: str
    shape: tuple[int, ...]
    type_name: str

    @property
    def size_bytes(self) -> float:
        """Return its size by the type's bits per value."""
        return prod(self.shape) * BITS[self.type_name] / 8


def typed_tensors(model: Model, label: str) -> list[Typed]:
    """Return every tensor with its type."""
    return [
        Typed(name, shape, _type(model, label.removeprefix("UD-"), name, shape))
        for name, shape in model.tensors()
    ]


def _type(model: Model, label: str, name: str, shape: tuple[int, ...]) -> str:
    if (
        len(shape) == 1
        or "norm" in name
        or "ffn_gate_inp" in name
        or "ssm_conv1d" in name
        or name.endswith((".scale", ".bias", "ssm_a", "ssm_d"))
    ):
        return "F32"
    kind = _wanted(model, label, name)
    if kind.endswith("_K") and shape[0] % 256:
        kind = _FALLBACK[kind]
    return kind


def _more_bits(index: int, layers: int) -> bool:
    return index < layers // 8 or index >= 7 * layers // 8 or (index - layers // 8) % 3 == 2


def _wanted(model: Model, label: str, name: str) -> str:
    base, expert = _BASE[label], "exps" in name
    if base == "MXFP4" or (label == "F16" and model.arch == "gpt-oss"):
        return "MXFP4" if expert else "F16" if label == "F16" else "Q8_0"
    if label == "Q8_K_XL" and model.experts:
        return "Q8_0" if expert else "BF16"
    if base in ("BF16", "F16", "Q8_0") or (name.startswith("token_embd") and not model.tied):
        return base
    if name.startswith(("token_embd", "output.weight")):
        return "Q8_0" if label == "Q6_K_L" else "Q6_K"
    return _layered(model, label, name)


def _layered(model: Model, label: str, name: str) -> str:
    base, index = _BASE[label], int(name.split(".")[1])
    if label == "Q3_K_M":
        return _q3_k_m(name, index, model.layers)
    medium = label.endswith(("_M", "_XL", "Q4_K")) and base in ("Q4_K", "Q5_K")
    value, down = "attn_v." in name or "attn_v_b" in name, "ffn_down" in name
    if medium and (value or down) and _more_bits(index, model.layers):
        return "Q6_K"
    if medium and "attn_qkv" in name:
        return {"Q4_K": "Q5_K", "Q5_K": "Q6_K"}[base]
    generous = value and model.layers == 80 and base in ("Q3_K", "Q4_K")
    return "Q5_K" if generous or (down and label == "Q4_K_S" and index < model.layers // 8) else base


def _q3_k_m(name: str, index: int, layers: int) -> str:
    if "attn_v." in name:
        return "Q5_K" if index < 2 else "Q4_K"
    if "ffn_down" in name:
        return "Q5_K" if index < layers // 16 else "Q4_K"
    return "Q4_K" if "attn_output" in name or "attn_qkv" in name else "Q3_K"
