"""Exit codes and the JSON document."""

import json
from dataclasses import replace

import pytest

from strixfleet.errors import ExitCode
from strixfleet.findings.items import Cost, Cure, Difference, Status
from strixfleet.findings.results import HostReport, Report
from strixfleet.findings.verdict import Grade, Verdict
from strixfleet.report import json_document as json_medium


def row(status: Status) -> Difference:
    return Difference("a:b", status, 1, 2, Cure.PROVISION, Cost.NONE)


def verdict(grade: Grade) -> Verdict:
    return Verdict("i", "m", "cpu", "d", "tg128", 1.0, 1.0, 1.0, 1.0, grade, "")


@pytest.mark.parametrize(
    ("host", "code"),
    [
        (HostReport("h", True), 0),
        (HostReport("h", True, items=(row(Status.OK), row(Status.WAIVED))), 0),
        (HostReport("h", True, items=(row(Status.DRIFT),)), 1),
        (HostReport("h", True, items=(row(Status.PENDING_REBOOT),)), 1),
        (HostReport("h", True, items=(row(Status.DRIFT), row(Status.UNKNOWN))), 3),
        (HostReport("h", False), 3),
        (HostReport("h", True, error="its state could not be read"), 3),
        (HostReport("h", True, error="a task failed", code=ExitCode.FAILED), 4),
        (HostReport("h", True, verdicts=(verdict(Grade.OK),)), 0),
        *((HostReport("h", True, verdicts=(verdict(one),)), 1) for one in Grade if one is not Grade.OK),
    ],
)
def test_each_host_has_its_code(host: HostReport, code: int) -> None:
    assert host.exit_code == code
    assert Report("audit", (host,)).exit_code == code


def test_the_worst_host_wins_in_the_contracts_order() -> None:
    hosts = (
        HostReport("a", True, items=(row(Status.DRIFT),)),
        HostReport("b", False),
        HostReport("c", True, code=ExitCode.FAILED),
    )
    assert Report("provision", hosts).exit_code == 4
    assert Report("provision", hosts[:2]).exit_code == 3
    assert Report("provision", ()).exit_code == 0


def test_the_document_has_the_contracts_keys(report: Report) -> None:
    document = json.loads(
        json_medium.render(report), parse_constant=lambda word: pytest.fail(f"no JSON: {word}")
    )
    assert document["schema"] == "strixfleet/audit/1"
    assert document["exit_code"] == 3
    first, second = document["hosts"]["h1"], document["hosts"]["h2"]
    assert set(first["items"][0]) == {"id", "status", "want", "have", "cure", "message"}
    wanted = "instance model backend device test measured_tps expected_tps floor_tps ceiling_tps grade reason"
    assert set(first["verdicts"][0]) == set(wanted.split())
    assert first["verdicts"][0]["ceiling_tps"] is None
    assert (first["reachable"], first["simulated"]) == (True, "Framework Desktop")
    assert (second["reachable"], second["items"]) == (False, [])


def test_a_bench_document_always_has_verdicts(report: Report) -> None:
    document = replace(report, verb="bench").to_json()
    assert isinstance(hosts := document["hosts"], dict)
    assert isinstance(host := hosts["h2"], dict)
    assert host["verdicts"] == []


def test_json_is_ascii_so_that_it_steers_no_terminal(report: Report) -> None:
    text = json_medium.render(report)
    assert text.isascii()
    assert "\x1b" not in text
