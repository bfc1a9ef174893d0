"""A tag that was moved under hosts which run it: nothing is to be built, so nothing else would compare it."""

from dataclasses import replace

import pytest

from strixfleet.errors import ChangeFailed, UsageError
from strixfleet.findings.items import Cure, Status
from strixfleet.fleet.moved_tags import refuse_moved_tags, with_moved_tags
from strixfleet.fleet.session import ProbedHost
from strixfleet.managed.llama_cpp.build import MANIFEST
from strixfleet.on_host.questions import Answer, Answers
from strixfleet.tools import git
from tests.fixtures.rollout_hosts import surveyed


BUILT_FROM = "a" * 40


def host(name: str = "h1") -> ProbedHost:
    """Return a host whose current build says that it was built from the pinned tag."""
    one = surveyed(name, "want")
    answers, built = one.seen.answers, f'"ref": "{one.want.id}"'
    text = str(answers[MANIFEST].value).replace(built, f'"ref": "{one.want.ref}"')
    found = Answers({**{row: answers[row] for row in answers}, MANIFEST: Answer(text, None)})
    return replace(one.seen, answers=found, differences=one.seen.state.differences(found))


def test_upgrade_refuses_a_moved_tag_although_every_host_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git, "tag_at", lambda _address, _tag: "b" * 40)
    with pytest.raises(UsageError, match=f"tag b2 has moved: this host was built from {BUILT_FROM}"):
        refuse_moved_tags([host()])


def test_audit_calls_a_moved_tag_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git, "tag_at", lambda _address, _tag: "b" * 40)
    seen = with_moved_tags({"h1": host(), "h2": ChangeFailed("gone")})["h1"]
    assert isinstance(seen, ProbedHost)
    (row,) = [row for row in seen.differences if row.id == "llama_cpp:current"]
    assert (row.status, row.cure) == (Status.DRIFT, Cure.MANUAL)
    assert "tag b2 has moved" in row.message


def test_a_tag_that_stayed_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def tag_at(_address: str, tag: str) -> str:
        asked.append(tag)
        return BUILT_FROM

    monkeypatch.setattr(git, "tag_at", tag_at)
    hosts: dict[str, ProbedHost] = {name: host(name) for name in ("h1", "h2")}
    assert with_moved_tags(hosts) == hosts
    assert asked == ["b2"]


def test_a_host_that_is_to_be_built_is_left_to_its_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git, "tag_at", lambda *_given: pytest.fail("was asked"))
    refuse_moved_tags([surveyed("h1", "b1").seen])


def test_a_repository_that_cannot_be_asked_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_given: str) -> str:
        raise ChangeFailed("git ls-remote: could not resolve host")

    monkeypatch.setattr(git, "tag_at", fail)
    refuse_moved_tags([host()])
    assert "could not look up whether tag b2 has moved" in capsys.readouterr().err
