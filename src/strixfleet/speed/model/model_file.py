"""What the header of a GGUF file says, before anything is made of it."""

from collections.abc import Mapping
from dataclasses import dataclass


Scalar = bool | int | float | str


@dataclass(frozen=True, slots=True)
class ArrayLeftOut:
    """An array known by its length alone: vocabularies, merges and scores are walked over, not kept."""

    count: int


MetadataValue = Scalar | tuple[Scalar, ...] | ArrayLeftOut


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor: its shape in GGUF order (fastest dimension first) and where its data lie."""

    name: str
    shape: tuple[int, ...]
    type_name: str
    size_bytes: int
    offset: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """
    Metadata and tensors of a model, over all files of a split one.

    `size_bytes` is what the complete files have by their headers; `missing_bytes` is what the files at hand
    lack of that: not 0 for an unfinished download or a bare header.
    """

    metadata: Mapping[str, MetadataValue]
    tensors: tuple[TensorInfo, ...]
    size_bytes: int
    missing_bytes: int
    files: tuple[str, ...]
    stem: str
