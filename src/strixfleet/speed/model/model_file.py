"""The content of a GGUF header."""

from collections.abc import Mapping
from dataclasses import dataclass


Scalar = bool | int | float | str


@dataclass(frozen=True, slots=True)
class ArrayLeftOut:
    """The length of an array that was skipped: vocabularies, merges and scores are not kept."""

    count: int


MetadataValue = Scalar | tuple[Scalar, ...] | ArrayLeftOut


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor: its shape in GGUF order (fastest dimension first) and the offset of its data."""

    name: str
    shape: tuple[int, ...]
    type_name: str
    size_bytes: int
    offset: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """
    Metadata and tensors of a model, from all its files.

    `size_bytes` is the size of the complete files according to their headers; `missing_bytes` is what these
    files lack: not 0 for an incomplete download or a header only.
    """

    metadata: Mapping[str, MetadataValue]
    tensors: tuple[TensorInfo, ...]
    size_bytes: int
    missing_bytes: int
    files: tuple[str, ...]
    stem: str
