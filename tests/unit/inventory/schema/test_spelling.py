"""Which unknown names are slips of ours, which are somebody else's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strixfleet.inventory.files.unknown_names import PREFIXES
from strixfleet.inventory.schema.settings import FIELDS
from strixfleet.inventory.schema.spelling import Kinship, distance, kinship, nearest


SLIPS = {
    "lama_cpp_ref": "llama_cpp_ref",
    "llama_cpp_reff": "llama_cpp_ref",
    "llamacpp_ref": "llama_cpp_ref",
    "llama_ref_cpp": "llama_cpp_ref",
    "llama-cpp-ref": "llama_cpp_ref",
    "Llama_Cpp_Ref": "llama_cpp_ref",
    "kernel_argument": "kernel_arguments",
    "kernel_gtt_gb": "kernel_gtt_gib",
    "hardware_profiel": "hardware_profile",
    "tailscale_authe_key": "tailscale_auth_key",
    "audit_waviers": "audit_waivers",
    "llama_server_instance": "llama_server_instances",
}


@pytest.mark.parametrize(("name", "meant"), SLIPS.items())
def test_slips(name: str, meant: str) -> None:
    assert kinship(name, FIELDS, PREFIXES) == (Kinship.SLIP, meant)


@pytest.mark.parametrize("name", ["tailscale_authkey", "tailscale_args", "tailscale_up_node"])
def test_names_of_other_roles(name: str) -> None:
    assert kinship(name, FIELDS, PREFIXES)[0] is Kinship.FOREIGN


@pytest.mark.parametrize("name", ["kernel_cmdline", "llama_models_common", "rollout_window"])
def test_strangers_under_our_prefixes(name: str) -> None:
    assert kinship(name, FIELDS, PREFIXES) == (Kinship.FOREIGN, None)


@pytest.mark.parametrize(
    "name",
    ["vault_tailscale_auth_key", "ntp_servers", "x", "", "a" * 5000, "ollama_models_dir", "pin", "timezone"],
)
def test_none_of_our_business(name: str) -> None:
    assert kinship(name, FIELDS, PREFIXES) == (Kinship.NONE, None)


def slow_distance(one: str, other: str) -> int:
    """Count slips by the definition: optimal string alignment, recursively."""
    if not one or not other:
        return len(one) + len(other)
    best = min(
        slow_distance(one[1:], other) + 1,
        slow_distance(one, other[1:]) + 1,
        slow_distance(one[1:], other[1:]) + (one[0] != other[0]),
    )
    if len(one) > 1 and len(other) > 1 and one[0] == other[1] and one[1] == other[0]:
        best = min(best, slow_distance(one[2:], other[2:]) + 1)
    return best


WORDS = st.text("abc", max_size=5)


@given(WORDS, WORDS)
def test_distance_is_the_definition(one: str, other: str) -> None:
    assert distance(one, other, 9) == slow_distance(one, other)


@given(st.sampled_from(FIELDS), st.integers(0, 40), st.sampled_from("abz_"))
def test_one_slip_is_always_found(name: str, where: int, letter: str) -> None:
    cut = where % len(name)
    wrong = name[:cut] + letter + name[cut:]
    assert nearest(wrong, FIELDS) == name


def test_no_name_of_ours_is_near_another() -> None:
    for name in FIELDS:
        assert nearest(name, FIELDS) == name
