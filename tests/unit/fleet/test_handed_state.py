"""What roles are handed: no server is taken away, and no hardware provisioned, by an oversight."""

from dataclasses import replace
from typing import Any

import pytest

from strixfleet.fleet.handed_state import state_for_roles
from strixfleet.managed.compiled import ASPECTS
from strixfleet.managed.facts import DRM
from strixfleet.on_host.questions import Answer, Ask, Json, Question
from tests.cases.aspect_cases import ASPECT_CASES, BASELINES, Case, load_case


RECORDED = load_case(BASELINES / "debian_13.yml")
CARD = "/sys/class/drm/card1/device"
UNKNOWN_GPU = "the hardware is not recognised: no known GPU (found: none); set hardware_profile"


def handed(case: Case, **settings: Json) -> dict[str, Any]:
    retire = settings.pop("retire", None)
    wanted = replace(case, settings={**case.settings, **settings})
    state = wanted.state
    return state_for_roles(state, wanted.answers, state.differences(wanted.answers), None, retire)


@pytest.mark.parametrize("retire", [None, False, "no", "chat", ["plain"], ""])
def test_a_server_that_the_inventory_no_longer_has_stays_without_consent(retire: Json) -> None:
    found = handed(RECORDED, llama_server_instances=[], retire=retire)

    (problem,) = found["problems"]
    assert "chat, plain" in problem
    assert "-e strixfleet_retire=yes" in problem
    assert "retired_server" not in found["deeds"]["llama_server"], "the role would take it away"
    assert found["deeds"]["llama_server"]["problem"] == [{"text": problem}], "the role alone would go on"


@pytest.mark.parametrize("retire", [True, "yes", "true", ["chat", "plain"], "other, plain,chat"])
def test_it_is_taken_away_with_consent(retire: Json) -> None:
    found = handed(RECORDED, llama_server_instances=[], retire=retire)

    assert found["problems"] == []
    assert found["deeds"]["llama_server"]["retired_server"] == [{"name": "chat"}, {"name": "plain"}]


def elsewhere(**settings: Json) -> dict[str, Any]:
    """Return what a machine with a GPU of another vendor is handed."""
    cards = Question(Ask.GLOB, f"{DRM}/device")
    vendors = Question(Ask.GLOB, f"{DRM}/vendor")
    other = {cards: Answer({f"{CARD}/device": "0x2684"}), vendors: Answer({f"{CARD}/vendor": "0x10de"})}
    return handed(replace(RECORDED, recorded={**RECORDED.recorded, **other}), **settings)


def test_hardware_that_is_not_recognised_is_refused_by_every_role() -> None:
    found = elsewhere(hardware_profile="auto")

    (problem,) = found["problems"]
    assert problem == UNKNOWN_GPU
    assert {name for name, kinds in found["deeds"].items() if kinds.get("problem")} == {*ASPECTS}


def test_it_is_taken_where_the_inventory_names_a_profile() -> None:
    assert elsewhere(hardware_profile="strix-halo-128")["problems"] == []


def test_hardware_that_is_recognised_is_taken() -> None:
    assert handed(RECORDED, hardware_profile="auto")["problems"] == []


BAD_PIN = {"llama_cpp_ref": "b8940"}


def test_a_build_that_is_known_to_be_bad_is_not_made() -> None:
    bare = load_case(ASPECT_CASES / "llama_cpp" / "bare_host.yml")
    problems = handed(bare, **BAD_PIN)["problems"]
    assert any(text.startswith("b8940 lets any client") and "pin b8941" in text for text in problems)


def test_what_runs_already_is_left_to_the_audit() -> None:
    assert not any("lets any client" in text for text in handed(RECORDED, **BAD_PIN)["problems"])
