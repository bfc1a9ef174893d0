"""Headers of published models, rebuilt from their configurations by the benchmarks' catalogue."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from strixfleet.adapters.gguf_writer import write_header_only


sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

HeaderOf = Callable[..., Path]


@pytest.fixture
def header_of(tmp_path: Path) -> HeaderOf:
    """Write the header of a family's file with a quantiser's label; tensor data is a hole."""
    from model_catalogue import BY_FAMILY
    from quant_mix import typed_tensors

    def write(family: str, label: str, name: str = "") -> Path:
        model = BY_FAMILY[family]
        path = tmp_path / (name or f"{family}-{label}.gguf")
        metadata = model.header() | {"tokenizer.ggml.tokens": ["a", "b"]}
        write_header_only(
            path, metadata, [(one.name, one.shape, one.type_name) for one in typed_tensors(model, label)]
        )
        return path

    return write
