"""Read the recorded cases of the aspects; README.md says how a case is written."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import cast

import yaml

from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.compiled import DesiredState, compile_host, questions_for
from strixfleet.managed.facts import ControllerFacts
from strixfleet.on_host.questions import Answer, Answers, Ask, Json, Question
from tests.fixtures.repository_key import ARMOURED


ASPECT_CASES = Path(__file__).with_name("aspects")
BASELINES = ASPECT_CASES / "baseline"
SHIPPED = re.compile("@sha256 ([a-z0-9_/.-]+)@")  # stands for the digest of a file that is copied to hosts
NOT_ASKED = "was not asked"

Row = dict[str, Json]


class NotAskedError(LookupError):
    """An answer is needed that the case does not hold, or that the code reads but never asks for."""


@dataclass(frozen=True, slots=True)
class Case:
    """A host as its inventory describes it and as it answered, and the rows that an audit must show."""

    settings: Mapping[str, Json]
    recorded: Mapping[Question, Answer]
    changed: frozenset[Question]  # the questions that this file itself answers
    expected: Mapping[str, Row]

    @property
    def host(self) -> Host:
        """Return the host with the settings of the case."""
        return Host("case", Connection("127.0.0.1"), HostSettings.model_validate(self.settings))

    @property
    def answers(self) -> Answers:
        """Return the answers to all that is asked of this host; fail where one is not recorded."""
        asked = questions_for(self.host)
        lacking = sorted(f"{one.verb} {one.subject}" for one in asked - self.recorded.keys())
        if lacking:
            raise NotAskedError(f"{lacking} {NOT_ASKED} when this was recorded; hint: add the answers")
        return Answers({one: self.recorded[one] for one in asked})

    @property
    def state(self) -> DesiredState:
        """Return the desired state of the host."""
        named = self.host.settings.tailscale_repository_key
        return compile_host(self.host, self.answers, ControllerFacts(ARMOURED if named else ""))

    def rows(self, prefix: str = "") -> dict[str, Row]:
        """Return the rows of an audit by id, those of one aspect or all."""
        found = {row.id: row.to_json() for row in self.state.differences(self.answers)}
        not_asked = [key for key, row in found.items() if row["message"] == NOT_ASKED]
        if not_asked:
            raise NotAskedError(f"an answer {NOT_ASKED}, but is read for {not_asked}")
        return {key: row for key, row in found.items() if key.startswith(prefix)}


def load_case(path: Path) -> Case:
    """Read a case, or a baseline, on top of the baseline that it names."""
    document = yaml.safe_load(_with_shipped_digests(path.read_text()))
    name = document.get("baseline")
    below = load_case(BASELINES / f"{name}.yml") if name else Case({}, {}, frozenset(), {})
    settings = {**below.settings, **document.get("settings", {})}
    changes = {_question(key): change for key, change in document.get("answers", {}).items()}
    recorded = {one: _changed(below.recorded.get(one), change) for one, change in changes.items()}
    return Case(
        {key: value for key, value in settings.items() if value is not None},
        {**below.recorded, **recorded},
        frozenset(changes),
        document.get("expected", {}),
    )


def _with_shipped_digests(text: str) -> str:
    def digest(found: re.Match[str]) -> str:
        return hashlib.sha256(files("strixfleet").joinpath(found[1]).read_bytes()).hexdigest()

    return SHIPPED.sub(digest, text)


def _question(key: str) -> Question:
    verb, subject = key.split(" ", 1)
    return Question(Ask(verb), subject)


def _changed(recorded: Answer | None, change: Json) -> Answer:
    """Return an answer as a case writes it: `unread`, `with` and `json` are forms, all else is the value."""
    match change:
        case {"unread": str(reason), **rest} if not rest:
            return Answer(error=reason)
        case {"json": value, **rest} if not rest:
            return Answer(json.dumps(value))
        case {"with": dict(keys), **rest} if not rest:
            return Answer(_with_keys(recorded.value if recorded else None, keys))
        case _:
            return Answer(change)


def _with_keys(value: Json, keys: Mapping[str, Json]) -> Json:
    if isinstance(value, str):
        return json.dumps(_with_keys(json.loads(value), keys))
    merged = dict(cast("Mapping[str, Json]", value))
    for key, new in keys.items():
        merged[key] = _with_keys(merged[key], new) if isinstance(new, dict) and key in merged else new
    return merged
