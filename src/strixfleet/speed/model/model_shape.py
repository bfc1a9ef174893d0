"""
Work out from a model's header what the machine has to do for one token.

bytes_read_per_token is the size of all tensors that run, except the input embedding (only one of its rows is
read, unless it is the output head, too) and multi-token-prediction layers; routed experts count with
used / total. The scripts in benchmarks/roofline check this against published measurements.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, prod

from strixfleet.errors import GgufError
from strixfleet.speed.model.hyperparameters import Hyperparameters
from strixfleet.speed.model.kv_cache import KvLayer, is_recurrent, kv_layers, state_bytes_per_layer
from strixfleet.speed.model.model_file import GgufHeader, TensorInfo


_BLOCK = re.compile(r"^blk\.(\d{1,5})\.(.+)$")
_ROUTED = re.compile(r"_(ch)?exps\.|^blk\.\d+\.ffn_(gate|up|down)\.\d+\.")
_LOOKED_UP = re.compile(r"^(token_embd|per_layer_token_embd|position_embd|token_types)\.weight$")
_ELSEWHERE = re.compile(r"^(enc|v|mm|a|mtp|cls)\.")  # encoders, projectors, prediction heads
_NARROW = 16  # a matrix is wider than this in both directions; convolutions of four taps count as vectors
_ENCODER = re.compile(r"bert|embedding|t5encoder|^wavtokenizer")
_RANK = 4  # llama_pooling_type: 0 none, 1 mean, 2 first token, 3 last token, 4 rank
SIXTEEN_BIT = frozenset({"F16", "BF16", "F32"})


@dataclass(frozen=True, slots=True)
class Read:
    """The bytes that one token reads of tensors of one type, routed experts apart."""

    type_name: str
    routed: bool
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A model as the roofline sees it."""

    name: str
    architecture: str
    layers: int  # that run; prediction layers are counted apart
    prediction_layers: int
    moe_layers: int
    recurrent_layers: int
    experts: int
    experts_used: int
    tied: bool  # the input embedding is the output head
    size_bytes: int
    weights_bytes: int
    parameters: int
    reads: tuple[Read, ...]
    operations: float  # that the GPU starts for a token: one for a matrix, a half for a norm
    kv: tuple[KvLayer, ...]
    latent_kv: bool
    state_bytes: int
    vocabulary: int
    width: int
    not_generating: str = ""  # what kind of model it is that generates no text

    @property
    def bytes_read_per_token(self) -> int:
        """Return the bytes that cross the memory bus for one token at depth 0."""
        return sum(read.size_bytes for read in self.reads)

    @property
    def main_type(self) -> str:
        """Return the type of most bytes, as in a quantisation label like Q4_K_M."""
        sizes: dict[str, int] = defaultdict(int)
        for read in self.reads:
            sizes[read.type_name] += read.size_bytes
        return max(sizes, key=lambda name: (sizes[name], name))

    def kv_bytes(self, context: int) -> int:
        """Return cache and recurrent state at a context size."""
        return sum(layer.held_bytes(context) for layer in self.kv) + self.state_bytes

    def kv_read_bytes(self, depth: int) -> int:
        """Return the bytes of the cache that one token reads at a depth."""
        return sum(layer.read_bytes(depth) for layer in self.kv)


def shape_of(header: GgufHeader) -> ModelShape:
    """Work out a model's shape; raise GgufError if it is not a language model."""
    hyper = Hyperparameters.of(header)
    blocks, predicting = _blocks(header.tensors, hyper.layers)
    predicting |= _left_out(blocks, hyper)
    running = [blocks[index] for index in range(hyper.layers) if index not in predicting]
    tied = not any(tensor.name == "output.weight" for tensor in header.tensors)
    experts, used = _experts(hyper, header.tensors)
    recurrent = sum(is_recurrent(names) for names in running)
    work = [
        (tensor, share)
        for tensor in _running_tensors(header.tensors, predicting, tied=tied)
        if (share := _share(tensor, (experts, used)))
    ]
    reads = _reads(work)
    if not reads:
        raise GgufError("the header has no tensor that a token would read", where=header.files[0])
    return ModelShape(
        name=hyper.name(),
        architecture=hyper.architecture,
        layers=len(running),
        prediction_layers=len(predicting),
        moe_layers=sum(any(is_routed(f"blk.0.{name}") for name in names) for names in running),
        recurrent_layers=recurrent,
        experts=experts,
        experts_used=used,
        tied=tied,
        size_bytes=header.size_bytes,
        weights_bytes=sum(tensor.size_bytes for tensor in header.tensors),
        parameters=sum(prod(tensor.shape) for tensor in header.tensors),
        reads=reads,
        operations=sum(_operations(tensor, share) for tensor, share in work),
        kv=kv_layers(hyper, running),
        latent_kv=hyper.number("attention.key_length_mla", 0) > 0,
        state_bytes=recurrent * state_bytes_per_layer(hyper),
        vocabulary=hyper.vocabulary(_head_rows(header.tensors)),
        width=hyper.number("embedding_length", 0),
        not_generating=_not_generating(hyper),
    )


def _not_generating(hyper: Hyperparameters) -> str:
    """
    Name what a model is that generates no text: an encoder, or a decoder trained to embed or to rank.

    llama.cpp's converters write a pooling type for the latter alone (enum llama_pooling_type).
    """
    if _ENCODER.search(hyper.architecture):
        return f"{hyper.architecture} model"
    pooling = hyper.number("pooling_type", 0)
    return "reranking model" if pooling == _RANK else "embedding model" if 0 < pooling < _RANK else ""


def is_routed(name: str) -> bool:
    """Tell by its name whether a tensor holds routed experts, not shared experts or a router."""
    return bool(_ROUTED.search(name))


def _blocks(tensors: Iterable[TensorInfo], layers: int) -> tuple[dict[int, set[str]], set[int]]:
    """Group tensor names by layer; also return the layers for multi-token prediction (`nextn`)."""
    blocks: dict[int, set[str]] = {index: set() for index in range(layers)}
    predicting: set[int] = set()
    for tensor in tensors:
        if match := _BLOCK.match(tensor.name):
            index, name = int(match[1]), match[2]
            blocks.setdefault(index, set()).add(name)
            if name.startswith("nextn.") or index >= layers:
                predicting.add(index)
    return blocks, predicting


def _left_out(blocks: Mapping[int, AbstractSet[str]], hyper: Hyperparameters) -> set[int]:
    """Return the prediction layers that a file counts but does not contain."""
    first = hyper.layers - hyper.number("nextn_predict_layers", 0)
    return {index for index in range(max(0, first), hyper.layers) if not blocks[index]}


def _running_tensors(
    tensors: Iterable[TensorInfo], predicting: set[int], *, tied: bool
) -> Iterator[TensorInfo]:
    for tensor in tensors:
        match = _BLOCK.match(tensor.name)
        if (match and int(match[1]) in predicting) or _ELSEWHERE.match(tensor.name):
            continue
        if _LOOKED_UP.match(tensor.name) and not (tied and tensor.name == "token_embd.weight"):
            continue
        yield tensor


def _experts(hyper: Hyperparameters, tensors: Iterable[TensorInfo]) -> tuple[int, int]:
    """Return how many experts there are and how many run; missing metadata is taken from the tensors."""
    stacked = [tensor.shape[-1] for tensor in tensors if "_exps.weight" in tensor.name]
    experts = hyper.number("expert_count", 0) or max(stacked, default=0)
    used = hyper.number("expert_used_count", 0)
    if experts and not 0 < used <= experts:
        raise GgufError(
            f"the header says {used} of {experts} experts run ({hyper.architecture}.expert_used_count)",
            where=hyper.header.files[0],
            hint="the file is damaged",
        )
    return experts, used if experts else 0


def _share(tensor: TensorInfo, experts: tuple[int, int]) -> Fraction:
    """Return the share of a tensor that one token reads."""
    count, used = experts
    if not is_routed(tensor.name):
        return Fraction(1)
    if "exps." in tensor.name:
        count = tensor.shape[-1]
    return Fraction(min(used, count), count) if count else Fraction(0)


def _operations(tensor: TensorInfo, share: Fraction) -> float:
    """Count the GPU operations of a tensor: 1 for a matrix, 0.5 for a vector, 0 for a (fused) bias."""
    if tensor.name.endswith(".bias"):
        return 0.0
    if (
        not tensor.name.endswith(".weight")
        or "norm" in tensor.name
        or min((*tensor.shape, 1, 1)[:2]) < _NARROW
    ):
        return 0.5
    return 1.0 if "exps." in tensor.name else float(share)


def _reads(work: Iterable[tuple[TensorInfo, Fraction]]) -> tuple[Read, ...]:
    totals: dict[tuple[str, bool], Fraction] = defaultdict(Fraction)
    for tensor, share in work:
        routed = is_routed(tensor.name) and not tensor.name.endswith(".bias")
        totals[tensor.type_name, routed] += share * tensor.size_bytes
    return tuple(Read(*key, ceil(size)) for key, size in sorted(totals.items()) if size)


def _head_rows(tensors: Iterable[TensorInfo]) -> int:
    rows = {tensor.name: tensor.shape[-1] for tensor in tensors if tensor.shape}
    return rows.get("output.weight", rows.get("token_embd.weight", 0))
