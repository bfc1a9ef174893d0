"""
Read the header of one GGUF file in one pass; the gguf package takes seconds for large vocabularies.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3. Any
input gives a header or a GgufError: counts, lengths and the total are limited, so a file cannot make us
allocate much memory.
"""

import struct
from functools import cache
from pathlib import Path
from struct import Struct
from typing import BinaryIO, NoReturn

from strixfleet.errors import GgufError
from strixfleet.speed.model.model_file import ArrayLeftOut, GgufHeader, MetadataValue, Scalar, TensorInfo


_MAX_METADATA = 4096
_MAX_TENSORS = 65_536
_MAX_KEY_BYTES = 65_535  # the format's own limit
_MAX_STRING_BYTES = 64 * 1024 * 1024
_MAX_KEPT_STRING_BYTES = 4096
_MAX_KEPT_ARRAY = 2048  # per-layer arrays are kept, vocabularies are not
_MAX_ARRAY_STRINGS = 4_000_000  # in all arrays; the largest known model has 262,144 tokens and 514,906 merges
_MAX_HEADER_BYTES = 512 * 1024 * 1024
_MAX_DIMENSIONS = 4  # GGML_MAX_DIMS
_MAX_VALUES = 2**63 - 1
_WINDOW_BYTES = 1024 * 1024
_STRING, _ARRAY = 8, 9
_NEWER_TYPES = {42: ("Q2_0", 64, 18)}  # known to llama.cpp, not yet to the package
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


@cache
def _types() -> dict[int, tuple[str, int, int]]:
    """Return id to name, values per block, bytes per block."""
    from gguf import GGML_QUANT_SIZES

    known = {int(kind): (str(kind.name), values, size) for kind, (values, size) in GGML_QUANT_SIZES.items()}
    return _NEWER_TYPES | known


class Walk:
    """One pass over one file's header."""

    def __init__(self, path: Path, file: BinaryIO, size_bytes: int) -> None:
        self._path = path
        self._file = file
        self._left = min(size_bytes, _MAX_HEADER_BYTES)
        self._size_bytes = size_bytes
        self._window = b""
        self._at = 0
        self._start = 0  # where the window lies in the file
        self._strings_left = _MAX_ARRAY_STRINGS
        self._structs = {code: Struct("<" + code) for code in set(_SCALARS.values())}

    def header(self) -> GgufHeader:
        """Walk from the first byte to the last tensor's entry; call once."""
        n_tensors, n_metadata = self._preamble()
        metadata: dict[str, MetadataValue] = {}
        for _ in range(n_metadata):
            key = self._key()
            if key in metadata:
                self._fail(f"metadata key {key!r} occurs twice")
            metadata[key] = self._value(self._number("I"))
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or not 1 <= alignment <= _WINDOW_BYTES:
            self._fail("general.alignment is not a valid size")
        tensors = tuple(self._tensor(alignment) for _ in range(n_tensors))
        data_start = -(-self._position // alignment) * alignment
        data_bytes = max((tensor.offset + tensor.size_bytes for tensor in tensors), default=0)
        want_bytes = data_start + data_bytes
        missing_bytes = max(0, want_bytes - self._size_bytes)
        return GgufHeader(metadata, tensors, want_bytes, missing_bytes, (str(self._path),), self._path.stem)

    @property
    def _position(self) -> int:
        return self._start + self._at

    def _fail(self, what: str) -> NoReturn:
        raise GgufError(f"{what} (byte {self._position} of the header)", where=str(self._path))

    def _preamble(self) -> tuple[int, int]:
        if self._size_bytes < 4 or self._bytes(4) != b"GGUF":  # noqa: PLR2004 - the bytes themselves
            raise GgufError(
                "is not a GGUF file", where=str(self._path), hint="a GGUF file starts with the bytes GGUF"
            )
        version = self._number("I")
        if version not in (2, 3):
            raise GgufError(
                f"GGUF version {version} is not supported; hint: use a file of version 2 or 3",
                where=str(self._path),
            )
        n_tensors, n_metadata = self._number("Q"), self._number("Q")
        if n_tensors > _MAX_TENSORS or n_metadata > _MAX_METADATA:
            self._fail(f"{n_tensors} tensors and {n_metadata} metadata entries are too many")
        return n_tensors, n_metadata

    def _need(self, count: int) -> None:
        """Fill the window so that it holds `count` bytes; for small counts only."""
        if len(self._window) - self._at >= count:
            return
        self._start += self._at
        rest = self._window[self._at :]
        more = self._file.read(min(_WINDOW_BYTES, self._left))
        self._left -= len(more)
        self._window, self._at = rest + more, 0
        if len(self._window) < count:
            self._fail("the header is incomplete; the file is truncated or damaged")

    def _bytes(self, count: int) -> bytes:
        self._need(count)
        self._at += count
        return self._window[self._at - count : self._at]

    def _skip(self, count: int) -> None:
        inside = len(self._window) - self._at
        if count <= inside:
            self._at += count
            return
        if count - inside > self._left:
            self._fail("the header is incomplete; the file is truncated or damaged")
        self._file.seek(count - inside, 1)
        self._left -= count - inside
        self._start, self._window, self._at = self._position + count, b"", 0

    def _scalar(self, code: str) -> Scalar:
        layout = self._structs[code]
        value: Scalar = layout.unpack(self._bytes(layout.size))[0]
        return value

    def _number(self, code: str) -> int:
        return int(self._scalar(code))

    def _key(self) -> str:
        length = self._number("Q")
        if length > _MAX_KEY_BYTES:
            self._fail(f"a name of {length} bytes is too long")
        return self._bytes(length).decode("utf-8", "replace")

    def _value(self, kind: int) -> MetadataValue:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array()
        if kind not in _SCALARS:
            self._fail(f"metadata type {kind} is not known")
        return self._scalar(_SCALARS[kind])

    def _string(self) -> str:
        length = self._number("Q")
        if length > _MAX_STRING_BYTES:
            self._fail(f"a text of {length} bytes is too long")
        kept = self._bytes(min(length, _MAX_KEPT_STRING_BYTES))
        self._skip(length - len(kept))
        return kept.decode("utf-8", "replace")

    def _array(self) -> MetadataValue:
        kind, count = self._number("I"), self._number("Q")
        if kind == _STRING:
            self._skip_strings(count)
            return ArrayLeftOut(count)
        if kind not in _SCALARS:
            self._fail(f"array type {kind} is not known")
        width = self._structs[_SCALARS[kind]].size
        if count > _MAX_KEPT_ARRAY:
            self._skip(count * width)
            return ArrayLeftOut(count)
        return Struct(f"<{count}{_SCALARS[kind]}").unpack(self._bytes(count * width))

    def _skip_strings(self, count: int) -> None:
        """Skip `count` strings; this is the inner loop of the whole pass, so it is written for speed."""
        self._strings_left -= count
        if self._strings_left < 0:
            self._fail(f"an array of {count} texts is too long")
        unpack_length = self._structs["Q"].unpack_from
        done = 0
        while done < count:
            self._need(8)
            window, at, limit = self._window, self._at, len(self._window)
            try:
                while done < count:
                    after = at + 8 + unpack_length(window, at)[0]
                    if after > limit:
                        break
                    at = after
                    done += 1
            except struct.error:  # the next length lies across the window's end
                pass
            self._at = at
            if done < count:
                length = self._number("Q")
                if length > _MAX_STRING_BYTES:
                    self._fail(f"a text of {length} bytes is too long")
                self._skip(length)
                done += 1

    def _tensor(self, alignment: int) -> TensorInfo:
        name = self._key()
        n_dimensions = self._number("I")
        if not 1 <= n_dimensions <= _MAX_DIMENSIONS:
            self._fail(f"tensor {name!r} has {n_dimensions} dimensions")
        shape = tuple(self._number("Q") for _ in range(n_dimensions))
        kind, offset = self._number("I"), self._number("Q")
        if kind not in _types():
            self._fail(f"tensor {name!r} has type {kind}, which the installed gguf package does not know")
        type_name, block_values, block_bytes = _types()[kind]
        values = 1
        for extent in shape:
            values *= extent
        if not 0 < values <= _MAX_VALUES or shape[0] % block_values:
            self._fail(f"tensor {name!r} of shape {shape} cannot be {type_name}")
        if offset % alignment or offset > _MAX_VALUES:
            self._fail(
                f"tensor {name!r} starts at {offset}, which is not a multiple of the alignment {alignment}"
            )
        return TensorInfo(name, shape, type_name, values // block_values * block_bytes, offset)
