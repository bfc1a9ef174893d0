"""What `advise` says: the newest ref that passed here, unless it is known to be bad."""

from typing import Any

import pytest

from strixfleet.commands import advise
from strixfleet.commands.advise import advise_for
from strixfleet.findings.run_store import History
from strixfleet.findings.runs import RunRow
from strixfleet.inventory.schema.fleet_model import Connection, Fleet, Host
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.llama_cpp.defects import unknown_build
from strixfleet.rollout.advice import Passed
from strixfleet.tools import git


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401 - a function of keywords
    """Return what is said of a fleet of one host, where a ref has passed."""

    def none(_history: History, **_: object) -> tuple[RunRow, ...]:
        return ()

    monkeypatch.setattr(History, "runs", none)
    monkeypatch.setattr(advise, "differences", lambda *_given: [])
    monkeypatch.setattr(git, "repository_here", lambda _address: None)

    def tell(passed: str | None, **settings: object) -> dict[str, Any]:
        found = Passed(passed, "h1", "2026-11-27", ()) if passed else None
        monkeypatch.setattr(advise, "newest_passed", lambda *_given: found)
        host = Host("h1", Connection("127.0.0.1"), HostSettings.model_validate(settings))
        (row,) = advise_for(Fleet((host,), ("/i",), "/known"))
        return dict(row.extra)

    return tell


def test_a_bad_pin_is_said_with_the_nearest_good_one(told: Any) -> None:  # noqa: ANN401
    found = told(None, llama_cpp_ref="b10500", llama_cpp_backend="rocm")
    (line,) = found["known_defects"]["b10500"]
    assert "answers nonsense" in line
    assert "; pin b10865" in line
    assert line in found["notes"]


def test_a_ref_that_passed_and_is_known_to_be_bad_is_not_advised(told: Any) -> None:  # noqa: ANN401
    found = told("b10500", llama_cpp_ref="b10991", llama_cpp_backend="rocm")
    assert found["notes"][0] == "b10500 passed on h1 at 2026-11-27, but is known to be bad"
    assert not any("upgrade --to b10500" in note for note in found["notes"])


def test_a_good_ref_is_advised(told: Any) -> None:  # noqa: ANN401
    found = told("b11190", llama_cpp_ref="b10991")
    assert found["notes"] == ["b11190 passed on h1 at 2026-11-27: `strixfleet upgrade --to b11190`"]


def test_of_a_commit_without_a_number_it_is_said_that_nothing_is_known(told: Any) -> None:  # noqa: ANN401
    found = told(None, llama_cpp_ref="c" * 40)
    assert found["notes"][1] == unknown_build("c" * 40)
