"""
Read the header of a model: one GGUF file, or all files of a split model.

A file with missing data still has a header; the missing bytes are counted.
"""

import re
import stat
from pathlib import Path

from strixfleet.errors import GgufError
from strixfleet.speed.model.gguf_walk import Walk
from strixfleet.speed.model.model_file import GgufHeader, MetadataValue, TensorInfo


_MAX_FILES = 1024
_SPLIT_NAME = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$", re.DOTALL)


def read_header(path: Path) -> GgufHeader:
    """Read a model's header; any file of a split model leads to all of them."""
    paths = _all_files(path)
    metadata: dict[str, MetadataValue] = {}
    tensors: dict[str, TensorInfo] = {}
    size_bytes = missing_bytes = 0
    for number, file in enumerate(paths):
        part = _read_file(file)
        metadata = {**part.metadata, **metadata}
        _check_split(part, file, number, len(paths))
        for tensor in part.tensors:
            if tensor.name in tensors:
                raise GgufError(f"tensor {tensor.name!r} occurs twice", where=str(file))
            tensors[tensor.name] = tensor
        size_bytes += part.size_bytes
        missing_bytes += part.missing_bytes
    stem = match["stem"] if (match := _SPLIT_NAME.match(path.name)) else path.stem
    names = tuple(str(file) for file in paths)
    return GgufHeader(metadata, tuple(tensors.values()), size_bytes, missing_bytes, names, stem)


def _all_files(path: Path) -> tuple[Path, ...]:
    match = _SPLIT_NAME.match(path.name)
    if match is None:
        return (path,)
    count = int(match["count"])
    if not 1 <= count <= _MAX_FILES:
        raise GgufError(f"{count} files according to its name, which is not a valid number", where=str(path))
    return tuple(path.with_name(f"{match['stem']}-{n:05}-of-{count:05}.gguf") for n in range(1, count + 1))


def _check_split(part: GgufHeader, file: Path, number: int, count: int) -> None:
    said = part.metadata.get("split.count", 0)
    if said not in (0, 1, count):
        raise GgufError(
            f"the header says that the model has {said} files, the file name says {count}",
            where=str(file),
            hint="keep the published file names, with all files in one folder",
        )
    if count > 1 and part.metadata.get("split.no", number) != number:
        raise GgufError(
            f"is not file {number + 1} of the split model, according to its header", where=str(file)
        )


def _read_file(path: Path) -> GgufHeader:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise GgufError("is not a regular file", where=str(path))
        with path.open("rb") as file:
            return Walk(path, file, status.st_size).header()
    except FileNotFoundError:
        split = _SPLIT_NAME.match(path.name)
        hint = "put all files of the split model into one folder" if split else "check the path"
        raise GgufError("no such file", where=str(path), hint=hint) from None
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise GgufError(f"cannot be read ({reason})", where=str(path)) from None
