"""The benchmark runs with what the server was told."""

import pytest

from strixfleet.inventory.schema.parts import Instance
from strixfleet.speed.measure.server_flags import ServerFlags


def test_options_become_llama_benchs_own() -> None:
    words = (
        "llama-server",
        "--threads",
        "8",
        "--n-gpu-layers",
        "all",
        "--device",
        "Vulkan0,Vulkan1",
        "--metrics",
    )
    flags = ServerFlags(words, {"LLAMA_ARG_FLASH_ATTN": "on", "LLAMA_ARG_UBATCH": "1024"})
    assert flags.bench_options() == [
        *("-t", "8", "-ngl", "999", "-fa", "on", "-ub", "1024", "-dev", "Vulkan0/Vulkan1")
    ]


def test_what_is_automatic_stays_so() -> None:
    flags = ServerFlags(("llama-server", "--gpu-layers", "auto", "-fa", "auto"), {})
    assert flags.bench_options() == []


def test_an_option_wins_over_its_variable_and_the_last_one_over_the_first() -> None:
    flags = ServerFlags(("--threads", "4", "--threads", "6"), {"LLAMA_ARG_THREADS": "2"})
    assert flags.bench_options() == ["-t", "6"]


def test_a_last_word_without_value_is_none() -> None:
    assert ServerFlags(("llama-server", "--threads"), {}).bench_options() == []


def test_a_server_that_does_not_run_is_taken_from_the_inventory() -> None:
    instance = Instance(name="main", model="m", port=9001, arguments={"threads": "3", "jinja": None})
    flags = ServerFlags.of_instance(instance)
    assert flags.bench_options() == ["-t", "3"]


@pytest.mark.parametrize(
    ("words", "micro_batch", "slot"),
    [
        ((), 512, 1 << 20),
        (("--ubatch-size", "1024", "--ctx-size", "8192", "--parallel", "4"), 1024, 2048),
        (("-ub", "4096"), 2048, 1 << 20),  # never more than a batch
        (("-ub", "0", "-c", "0"), 512, 1 << 20),
    ],
)
def test_lengths_of_prompts_are_bounded_as_the_server_bounds_them(
    words: tuple[str, ...], micro_batch: int, slot: int
) -> None:
    flags = ServerFlags(("llama-server", *words), {})
    assert (flags.micro_batch_tokens, flags.slot_tokens) == (micro_batch, slot)
