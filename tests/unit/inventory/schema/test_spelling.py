"""Which unknown names are slips of ours, which are somebody else's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strixfleet.inventory.files.unknown_names import judge_name
from strixfleet.inventory.schema.settings import FIELDS
from strixfleet.inventory.schema.spelling import SLIP_LIKENESS_MIN, nearest


SLIPS = {
    "lama_cpp_ref": "llama_cpp_ref",
    "llama_cpp_reff": "llama_cpp_ref",
    "llamacpp_ref": "llama_cpp_ref",
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
def test_slips_are_errors_with_the_right_spelling(name: str, meant: str) -> None:
    problem = judge_name(name)
    assert problem is not None
    assert (problem.warning, problem.hint) == (False, f"write {meant}")


@pytest.mark.parametrize(
    "name",
    [
        *("tailscale_authkey", "tailscale_args", "tailscale_up_node", "tailscale_state"),
        *("kernel_cmdline", "kernel_parameters", "llama_models_common", "rollout_window"),
    ],
)
def test_names_of_other_roles_under_our_prefixes_are_warnings(name: str) -> None:
    problem = judge_name(name)
    assert problem is not None
    assert problem.warning


@pytest.mark.parametrize(
    "name",
    ["vault_tailscale_auth_key", "ntp_servers", "x", "", "a" * 5000, "ollama_models_dir", "pin", "timezone"],
)
def test_other_names_are_fine(name: str) -> None:
    assert judge_name(name) is None


@given(st.sampled_from(FIELDS), st.integers(0, 40), st.sampled_from("abz_"))
def test_one_letter_too_many_is_always_found(name: str, where: int, letter: str) -> None:
    cut = where % len(name)
    wrong = name[:cut] + letter + name[cut:]
    assert nearest(wrong, FIELDS, SLIP_LIKENESS_MIN) == name


@pytest.mark.parametrize("name", FIELDS)
def test_our_own_names_are_fine(name: str) -> None:
    assert judge_name(name) is None
    assert nearest(name, FIELDS) == name
