"""`strixfleet predict` as a user types it: text that fits a terminal, and the JSON document."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from strixfleet.cli import main
from strixfleet.sandbox.gguf_writer import write_header_only


HeaderOf = Callable[..., Path]
Typed = Callable[..., tuple[int, str, str]]
HALO = ("--profile", "strix-halo-128", "--backend", "vulkan")


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    """Type `strixfleet predict …`; give exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["predict", *map(str, arguments)])
        shown = capsys.readouterr()
        return int(left.value.code or 0), shown.out, shown.err

    return run


def test_json_is_what_the_contract_says(header_of: HeaderOf, typed: Typed) -> None:
    path = header_of("qwen3-30b-a3b", "Q4_K_M")
    code, out, err = typed(path, *HALO, "--json")
    document = json.loads(out)
    assert (code, err, document["exit_code"]) == (0, "", 0)
    assert document["schema"] == "strixfleet/predict/1"
    model, memory, decode = document["model"], document["memory"], document["decode"]
    assert (model["name"], model["architecture"]) == ("qwen3-30b-a3b", "qwen3moe")
    assert (model["layers"], model["experts"], model["experts_used"]) == (48, 128, 8)
    assert model["size_bytes"] == path.stat().st_size
    assert all(type(model[key]) is int for key in ("size_bytes", "bytes_read_per_token"))
    assert all(type(memory[key]) is int for key in memory if key.endswith("_bytes"))
    assert memory["kv_bytes"] == 98304 * 4096
    assert memory["fits"] is True
    assert decode["floor_tps"] < decode["expected_tps"] < decode["ceiling_tps"]
    assert decode["ceiling_tps"] == pytest.approx(256e9 / model["bytes_read_per_token"])
    assert "GB per token" in document["reason"]


def test_words_fit_eighty_columns(header_of: HeaderOf, typed: Typed) -> None:
    path = header_of("qwen3-next-80b-a3b", "BF16")
    for rest in (HALO, ("--profile", "strix-point", "--backend", "rocm", "--depth", 30000)):
        code, out, _ = typed(path, *rest)
        assert code == 1
        assert max(map(len, out.splitlines())) <= 80
        assert out.startswith("model    qwen3-next-80b-a3b (qwen3next, 48 layers, 10 of 512 experts)\n")
        assert out.isascii()


def test_context_sizes_the_cache_and_depth_the_speed(header_of: HeaderOf, typed: Typed) -> None:
    path = header_of("llama-2-7b", "Q4_0")
    plain, wide, deep = (
        json.loads(typed(path, *HALO, "--json", *more)[1])
        for more in ((), ("--context", 32768), ("--depth", 32768))
    )
    assert wide["memory"]["kv_bytes"] == 8 * plain["memory"]["kv_bytes"]
    assert wide["decode"] == plain["decode"]
    assert deep["memory"] == plain["memory"]
    assert deep["decode"]["expected_tps"] < plain["decode"]["expected_tps"] / 4


@pytest.mark.parametrize(
    ("profile", "gib"),
    [("strix-halo-128", 120), ("strix-halo-96", 88), ("strix-halo-64", 56), ("strix-halo-32", 24)],
)
def test_each_tier_has_its_memory(header_of: HeaderOf, typed: Typed, profile: str, gib: int) -> None:
    path = header_of("qwen3-32b", "Q8_0")
    document = json.loads(typed(path, "--profile", profile, "--backend", "vulkan", "--json")[1])
    assert document["memory"]["available_bytes"] == gib * 1024**3
    assert document["memory"]["fits"] is (gib > 34)


def test_a_carve_out_adds_to_what_the_gpu_reaches(header_of: HeaderOf, typed: Typed) -> None:
    path = header_of("llama-2-7b", "Q4_0")
    more = ("--gtt", 16, "--carve-out", 96)
    document = json.loads(typed(path, *HALO, "--json", *more)[1])
    assert document["memory"]["available_bytes"] == 112 * 1024**3


def test_what_is_assumed_is_said(header_of: HeaderOf, typed: Typed) -> None:
    path = header_of("llama-2-7b", "Q4_0")
    point = ("--profile", "strix-point", "--backend", "vulkan")
    assert "assuming 89.6 GB/s and 64 GiB" in " ".join(typed(path, *point)[1].split())
    assert "assumed" not in typed(path, *point, "--bandwidth", 120, "--memory", 32)[1]
    code, out, _ = typed(path, "--profile", "sandbox", "--backend", "cpu")
    assert (code, "assuming 40 GB/s and 16 GiB" in " ".join(out.split())) == (0, True)


def test_sizes_that_cannot_be_are_said(header_of: HeaderOf, typed: Typed) -> None:
    path = header_of("llama-2-7b", "Q4_0")
    code, _, err = typed(path, *HALO, "--memory", 32, "--carve-out", 32)
    assert (code, "a carve-out of 32 GiB leaves none of the 32 GiB" in err) == (2, True)
    assert "--gtt 500 is more than" in " ".join(typed(path, *HALO, "--gtt", 500)[1].split())
    deep = typed(path, *HALO, "--depth", 100_000)[1]
    assert "the context of 4096 tokens is smaller than the depth" in " ".join(deep.split())
    code, _, err = typed("https://models.example/m.gguf", *HALO)
    assert (code, "needs a local file, not a URL" in err) == (2, True)


def test_words_follow_a_narrow_terminal(
    header_of: HeaderOf, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    assert max(map(len, typed(header_of("llama-2-7b", "Q4_0"), *HALO)[1].splitlines())) <= 50


def test_sixteen_bit_experts_are_named(header_of: HeaderOf, typed: Typed) -> None:
    document = json.loads(typed(header_of("qwen3-235b-a22b", "BF16"), *HALO, "--json")[1])
    assert "three times slower on Vulkan" in document["reason"]


def test_a_hostile_name_is_inert(tmp_path: Path, typed: Typed) -> None:
    path = tmp_path / "x.gguf"
    name = "\x1b[2J\x1b]0;owned\x07[red]evil[/red]\nnote     all is well\r" + "x" * 500
    metadata = {
        "general.architecture": "llama",
        "general.name": name,
        "llama.block_count": 1,
        "llama.embedding_length": 64,
        "llama.attention.head_count": 1,
    }
    write_header_only(path, metadata, [("output.weight", (64, 32), "Q8_0")])
    code, out, _ = typed(path, *HALO)
    assert code == 0
    assert not any(letter in out for letter in "\x1b\x07\r")
    assert not any(line.startswith("note     all is well") for line in out.splitlines())


def test_mistakes_are_one_sentence_and_code_2(tmp_path: Path, typed: Typed) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"no")
    assert "is not a GGUF file" in typed(bad, *HALO)[2]
    bad.write_bytes(b"not a model")
    for path in (bad, tmp_path / "absent.gguf", tmp_path):
        code, out, err = typed(path, *HALO)
        assert (code, out) == (2, "")
        assert err.startswith(f"strixfleet: {path}: ")
        assert err.count("\n") == 1
    assert typed(bad, "--profile", "strix-halo-128", "--backend", "cuda")[0] == 2
    assert typed(bad, "--profile", "nonsense", "--backend", "cpu")[0] == 2


def test_results_go_to_a_file(header_of: HeaderOf, typed: Typed, tmp_path: Path) -> None:
    target = tmp_path / "answer.json"
    code, out, _ = typed(header_of("llama-2-7b", "Q4_0"), *HALO, "--output", target)
    assert (code, out) == (0, "")
    assert json.loads(target.read_text())["model"]["layers"] == 32
    page = tmp_path / "answer.html"
    code, _, err = typed(header_of("llama-2-7b", "Q4_0"), *HALO, "--output", page)
    assert (code, "writes text or JSON" in err, page.exists()) == (2, True, False)


@pytest.mark.parametrize(("claim", "grade"), [(20, "impossible"), (3.0, "ok"), (2.0, "slow")])
def test_a_claim_is_judged(header_of: HeaderOf, typed: Typed, claim: float, grade: str) -> None:
    path = header_of("llama-3.3-70b", "Q8_0")
    code, out, _ = typed(path, *HALO, "--claim", claim, "--json")
    assert code == 0
    assert json.loads(out)["claim"]["grade"] == grade
    assert f"\nclaim    {grade}: " in typed(path, *HALO, "--claim", claim)[1]


def test_what_does_not_fit_gets_no_speed_and_code_1(header_of: HeaderOf, typed: Typed) -> None:
    path = header_of("qwen3-235b-a22b", "Q8_0")
    code, out, err = typed(path, *HALO, "--json")
    document = json.loads(out)
    assert (code, err, document["exit_code"]) == (1, "", 1)
    assert document["memory"]["fits"] is False
    assert [document["decode"][key] for key in ("expected_tps", "floor_tps", "ceiling_tps")] == [None] * 3
    assert document["partial"] is None
    code, out, _ = typed(path, *HALO)
    assert code == 1
    assert "\ndecode   no speed: the model does not fit\n" in out
    assert "t/s expected" not in out


def test_what_fits_in_part_has_its_speed_apart(header_of: HeaderOf, typed: Typed) -> None:
    path = header_of("gpt-oss-120b", "MXFP4")
    halo_64 = ("--profile", "strix-halo-64", "--backend", "vulkan")
    code, out, _ = typed(path, *halo_64, "--json")
    document = json.loads(out)
    assert (code, document["decode"]["expected_tps"]) == (1, None)
    code, out, _ = typed(header_of("qwen3-30b-a3b", "BF16"), *halo_64, "--json")
    document = json.loads(out)
    assert (code, document["decode"]["expected_tps"]) == (1, None)
    assert 0 < document["partial"]["layers_on_gpu"] < 48
    assert document["partial"]["expected_tps"] > 0


@pytest.mark.parametrize(
    ("architecture", "more", "what"),
    [
        ("bert", {}, "bert"),
        ("nomic-bert-moe", {}, "nomic-bert-moe"),
        ("qwen3", {"qwen3.pooling_type": 3}, "embedding"),
        ("qwen3", {"qwen3.pooling_type": 4}, "reranking"),
        ("gemma-embedding", {}, "gemma-embedding"),
    ],
)
def test_embedding_and_reranking_models_have_no_decode_speed(
    tmp_path: Path, typed: Typed, architecture: str, more: dict[str, int], what: str
) -> None:
    path = tmp_path / "bge-m3-F16.gguf"
    metadata = {
        "general.architecture": architecture,
        f"{architecture}.block_count": 1,
        f"{architecture}.embedding_length": 64,
        f"{architecture}.attention.head_count": 1,
    }
    write_header_only(path, metadata | more, [("blk.0.attn_q.weight", (64, 64), "F16")])
    code, out, _ = typed(path, *HALO, "--json")
    document = json.loads(out)
    assert (code, document["exit_code"]) == (0, 0)
    assert document["memory"]["fits"] is True
    assert document["decode"]["expected_tps"] is None
    assert what in document["reason"]
    assert "does not generate text" in " ".join(typed(path, *HALO)[1].split())


def test_a_claim_with_speculation_is_not_called_a_wrong_measurement(
    header_of: HeaderOf, typed: Typed
) -> None:
    path = header_of("llama-3.3-70b", "Q8_0")
    found = json.loads(typed(path, *HALO, "--claim", 20, "--json")[1])["claim"]
    assert found["grade"] == "impossible"
    assert "measurement" not in found["reason"]
    assert "a draft model" in found["reason"]
    found = json.loads(typed(path, *HALO, "--claim", 5, "--speculation", "--json")[1])["claim"]
    assert found["grade"] == "ok"


def test_a_claim_for_what_does_not_fit_cannot_be_held_against_a_speed(
    header_of: HeaderOf, typed: Typed
) -> None:
    path = header_of("qwen3-235b-a22b", "Q8_0")
    found = json.loads(typed(path, *HALO, "--claim", 20, "--json")[1])["claim"]
    assert found == {"tps": 20.0, "grade": "invalid", "reason": "no speed: the model does not fit"}
