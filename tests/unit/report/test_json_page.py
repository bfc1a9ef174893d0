"""docs/json.md names every key and word that the JSON documents hold."""

import re
from dataclasses import fields

import pytest

from strixfleet.findings.items import Cost, Cure, Status
from strixfleet.findings.results import HostReport
from strixfleet.findings.runs import RECORDED
from strixfleet.findings.verdict import Grade, Verdict
from strixfleet.rollout.rollout_state import ENDS
from strixfleet.speed.measure.against_cpu import AgainstCpu
from strixfleet.speed.measure.draft import DraftGain
from strixfleet.speed.measure.host_conditions import HostConditions
from tests.conftest import ROOT


PAGE = (ROOT / "docs/json.md").read_text(encoding="utf-8")
WORDS = {
    "verdict": [one.name for one in fields(Verdict)],
    "grade": [one.value for one in Grade],
    "status": [one.value for one in Status],
    "cure": [one.value for one in Cure],
    "cost": [one.value for one in Cost],
    "outcome": [one.value for one in ENDS],
    "host": [*HostReport("h", reachable=True).to_json("status")],
    "state": [*HostConditions().to_json()],
    "draft": [*DraftGain(1.0, 1.0, "request", 1.0).to_json()],
    "cpu": [*AgainstCpu("m", "tg1", 1.0, 1.0).to_json()],
    "verb": [*RECORDED],
}


@pytest.mark.parametrize("subject", WORDS)
def test_the_page_names_every_word(subject: str) -> None:
    missing = [
        one
        for one in WORDS[subject]
        if not re.search(rf"[`.]{one}(\[\])?`|^## .*\b{one}\b", PAGE, re.MULTILINE)
    ]
    assert missing == []
