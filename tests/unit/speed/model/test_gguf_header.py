"""Headers: read right, read cheaply, and never more than an error whatever the bytes are."""

import random
import struct
import tracemalloc
from pathlib import Path

import gguf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strixfleet.errors import GgufError
from strixfleet.sandbox.gguf_writer import write_header_only, write_random_llama
from strixfleet.speed.expect.roofline import Machine, expect
from strixfleet.speed.model.gguf_header import read_header
from strixfleet.speed.model.model_file import ArrayLeftOut
from strixfleet.speed.model.model_shape import ModelShape, shape_of


MUTATIONS = 10_000
METADATA = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": [2, 1],
    "llama.expert_count": 4,
    "llama.expert_used_count": 2,
    "llama.rope.freq_base": 10000.0,
    "general.name": "tiny",
    "tokenizer.ggml.tokens": ["<s>", "a", "b"],
    "tokenizer.ggml.scores": [0.0, 1.0, 2.0],
}
TENSORS = [
    ("token_embd.weight", (64, 32), "Q8_0"),
    ("output.weight", (64, 32), "Q8_0"),
    ("blk.0.attn_k.weight", (64, 32), "Q4_0"),
    ("blk.1.ffn_up_exps.weight", (64, 32, 4), "F16"),
]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    write_header_only(path, METADATA, TENSORS)
    return path


def test_header_agrees_with_the_packages_own_reader(tmp_path: Path) -> None:
    path = tmp_path / "llama.gguf"
    write_random_llama(path, size_bytes_at_least=2_000_000, experts=4)
    ours, theirs = read_header(path), gguf.GGUFReader(path)
    data_start = theirs.data_offset
    assert [(t.name, t.shape, t.type_name, t.size_bytes, t.offset + data_start) for t in ours.tensors] == [
        (t.name, tuple(map(int, t.shape)), t.tensor_type.name, t.n_bytes, t.data_offset)
        for t in theirs.tensors
    ]
    assert ours.size_bytes == path.stat().st_size
    assert ours.missing_bytes == 0
    scalars = {key: value for key, value in ours.metadata.items() if not isinstance(value, ArrayLeftOut)}
    assert scalars["llama.block_count"] == int(theirs.fields["llama.block_count"].contents())
    assert scalars["general.architecture"] == "llama"
    assert ours.metadata["tokenizer.ggml.tokens"] == ArrayLeftOut(354)


def test_short_arrays_are_kept_and_texts_left_out(tiny: Path) -> None:
    metadata = read_header(tiny).metadata
    assert metadata["llama.attention.head_count_kv"] == (2, 1)
    assert metadata["tokenizer.ggml.tokens"] == ArrayLeftOut(3)
    assert metadata["llama.rope.freq_base"] == 10000.0


def test_a_bare_header_says_what_is_missing(tiny: Path) -> None:
    complete = read_header(tiny)
    assert complete.missing_bytes == 0
    cut = tiny.with_name("cut.gguf")
    cut.write_bytes(tiny.read_bytes()[: complete.size_bytes - 5000])
    assert read_header(cut).missing_bytes == 5000
    assert read_header(cut).size_bytes == complete.size_bytes


@pytest.mark.slow
def test_a_large_vocabulary_is_walked_over_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "large.gguf"
    tokens = [f"token{number}" for number in range(262_144)]
    write_header_only(path, METADATA | {"tokenizer.ggml.tokens": tokens}, TENSORS)
    read_header(path)
    tracemalloc.start()
    try:
        header = read_header(path)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert header.metadata["tokenizer.ggml.tokens"] == ArrayLeftOut(262_144)
    assert peak_bytes < 16_000_000


def _split(tmp_path: Path, count: int = 3) -> list[Path]:
    paths = []
    for number in range(count):
        path = tmp_path / f"big-{number + 1:05}-of-{count:05}.gguf"
        split = {"general.architecture": "llama", "split.no": number, "split.count": count}
        tensors = [("token_embd.weight", (64, 32), "Q8_0")] if number == 0 else []
        metadata = (METADATA if number == 0 else {}) | split
        write_header_only(path, metadata, [*tensors, (f"blk.{number}.attn_k.weight", (64, 32), "Q8_0")])
        paths.append(path)
    return paths


@pytest.mark.parametrize("start", [0, 1, 2])
def test_any_file_of_a_split_model_leads_to_all(tmp_path: Path, start: int) -> None:
    paths = _split(tmp_path)
    header = read_header(paths[start])
    assert header.files == tuple(map(str, paths))
    assert [tensor.name for tensor in header.tensors] == [
        "token_embd.weight",
        "blk.0.attn_k.weight",
        "blk.1.attn_k.weight",
        "blk.2.attn_k.weight",
    ]
    assert header.size_bytes == sum(path.stat().st_size for path in paths)
    assert header.stem == "big"


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    paths = _split(tmp_path)
    paths[1].unlink()
    with pytest.raises(GgufError, match=r"big-00002-of-00003\.gguf: no such file; hint: put all files"):
        read_header(paths[0])


def test_exchanged_parts_are_refused(tmp_path: Path) -> None:
    paths = _split(tmp_path)
    paths[2].write_bytes(paths[1].read_bytes())
    with pytest.raises(GgufError, match="is not file 3 of the split model"):
        read_header(paths[0])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a GGUF file"),
        (b"GGML" + bytes(40), "is not a GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "GGUF version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "is not supported"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "are too many"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**50), "a name of"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 8, 2**40), "texts"),
        (
            b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 9, 1),
            "type 9 is not known",
        ),
        (
            b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 0, 2**40),
            "is truncated or damaged",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(GgufError, match=words) as caught:
        read_header(path)
    assert str(path) in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GgufError, match="no such file"):
        read_header(tmp_path / "absent.gguf")
    with pytest.raises(GgufError, match="not a regular file"):
        read_header(tmp_path)
    with pytest.raises(GgufError, match="cannot be read"):
        read_header(tmp_path / "nul\0.gguf")


def test_a_hole_of_endless_empty_texts_ends(tmp_path: Path) -> None:
    path = tmp_path / "hole.gguf"
    content = b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 8, 2**32)
    path.write_bytes(content)
    with path.open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(GgufError, match="an array of 4294967296 texts"):
        read_header(path)


def _mutate(original: bytes, source: random.Random) -> bytes:
    content = bytearray(original)
    for _ in range(source.randint(1, 4)):
        place = source.randrange(len(content))
        kind = source.randrange(5)
        if kind == 0:
            content[place] = source.randrange(256)
        elif kind == 1:
            content[place : place + 8] = struct.pack(
                "<Q", source.choice([0, 1, 2**31, 2**32, 2**63, 2**64 - 1])
            )
        elif kind == 2:
            del content[place : place + source.randint(1, 16)]
        elif kind == 3:
            content[place:place] = source.randbytes(source.randint(1, 16))
        else:
            del content[place:]
        if not content:
            break
    return bytes(content)


def _outcome(path: Path) -> ModelShape | str:
    try:
        return shape_of(read_header(path))
    except GgufError as refused:
        return str(refused)


@pytest.mark.slow
def test_ten_thousand_mutated_headers_give_a_shape_or_an_error(tiny: Path) -> None:
    original = tiny.read_bytes()[: tiny.stat().st_size - read_header(tiny).tensors[-1].size_bytes]
    source, refused = random.Random(20261121), 0  # noqa: S311 - the same headers each time
    path = tiny.with_name("mutated.gguf")
    for _ in range(MUTATIONS):
        path.write_bytes(_mutate(original, source))
        outcome = _outcome(path)
        if isinstance(outcome, str):
            assert outcome.startswith(str(path))
            refused += 1
        else:
            assert outcome.bytes_read_per_token > 0
            assert outcome.kv_bytes(4096) >= 0
            assert outcome.name.isprintable()
            assert 0 < expect(outcome, Machine(256.0), "vulkan").expected_tps < float("inf")
    assert MUTATIONS // 20 < refused < MUTATIONS * 19 // 20, "the mutations are too tame or too wild"


@given(st.binary(max_size=300))
def test_any_bytes_after_the_magic_are_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, rest: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "any.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<I", 3) + rest)
    outcome = _outcome(path)
    assert not isinstance(outcome, str) or outcome.startswith(str(path))
