"""Random models: as large as asked, the same for the same options, and finite."""

import hashlib
from pathlib import Path

import gguf
import numpy as np
import pytest

from strixfleet.sandbox.gguf_writer import write_random_llama
from strixfleet.speed.model.gguf_header import read_header
from strixfleet.speed.model.model_shape import shape_of


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("options", [{}, {"experts": 4, "experts_used": 2}, {"quant": "f16"}, {"n_layer": 3}])
@pytest.mark.parametrize("size_bytes", [0, 3_000_000, 30_000_000])
def test_a_model_is_as_large_as_asked(tmp_path: Path, options: dict[str, object], size_bytes: int) -> None:
    path = tmp_path / "random.gguf"
    write_random_llama(path, size_bytes_at_least=size_bytes, **options)  # type: ignore[arg-type] # a test's
    shape = shape_of(read_header(path))
    assert size_bytes <= path.stat().st_size == shape.size_bytes <= 2 * size_bytes + 20_000_000
    assert shape.experts == options.get("experts", 0)
    assert shape.vocabulary == 354
    assert shape.layers == options.get("n_layer", shape.layers)


def test_the_same_options_give_the_same_bytes(tmp_path: Path) -> None:
    digests = []
    for number, seed in enumerate((7, 7, 8)):
        path = tmp_path / str(number) / "random.gguf"
        path.parent.mkdir()
        write_random_llama(path, size_bytes_at_least=2_000_000, seed=seed)
        digests.append(_digest(path))
    assert digests[0] == digests[1] != digests[2]


def test_weights_are_finite_and_text_stays_printable(tmp_path: Path) -> None:
    path = tmp_path / "random.gguf"
    write_random_llama(path, size_bytes_at_least=2_000_000)
    values = {
        tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        for tensor in gguf.GGUFReader(path).tensors
    }
    assert all(np.isfinite(value).all() and value.any() for value in values.values())
    head = values["output.weight"]
    assert not head[:259].any(), "special and byte tokens are never the likeliest"
    assert head[259:].any(axis=1).all()
