"""`provision` changes and measures hosts only while it holds the fleet's lock on them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from strixfleet.commands import provision
from strixfleet.commands.provision import Consent, run_provision
from strixfleet.errors import LockHeld, ProbeFailed, Unreachable
from strixfleet.findings.results import HostReport
from strixfleet.fleet.options import Options
from strixfleet.fleet.session import ProbedHost
from strixfleet.inventory.schema.fleet_model import Fleet, Host
from strixfleet.managed.llama_cpp.host_program import HOST_PROGRAM
from strixfleet.on_host.questions import Answer, Ask, Question
from strixfleet.rollout.sole_operator import Alone
from strixfleet.tools.ansible_playbook import HostOutcome
from tests.cases.aspect_cases import BASELINES, Case, load_case


HEALTHY = load_case(BASELINES / "debian_13.yml")
YES = Consent(yes=True, check=False, diff=False, reboot="never")
PROGRAM_IS = Question(Ask.DIGEST, HOST_PROGRAM)


class Site:
    """A fleet of one host, and what is done to it while its lock is held or not."""

    def __init__(self, case: Case, refused: dict[str, ProbeFailed | Unreachable] | None = None) -> None:
        self.case, self.refused = case, refused or {}
        self.held = self.taken_by_other = False
        self.done: list[tuple[str, bool]] = []
        self.fleet = Fleet((case.host,), ("inventory",), "/dev/null")

    def look(self, *_given: object) -> dict[str, ProbedHost]:
        state = self.case.state
        return {"case": ProbedHost(state, self.case.answers, state.differences(self.case.answers), 0.1)}

    @contextmanager
    def lock(self, hosts: list[Host], *_given: object) -> Iterator[Alone]:
        assert [one.name for one in hosts] == ["case"]
        if self.taken_by_other:
            raise LockHeld("locked by ann", where="case")
        self.held = True
        yield Alone(self.refused, Path("tokens.json"))
        self.held = False

    def play(self, *_given: object, **_named: object) -> dict[str, HostOutcome]:
        self.done.append(("play", self.held))
        return {}

    def measure(
        self, _fleet: Fleet, unproved: Mapping[str, object], *_given: object, **_named: object
    ) -> dict[str, HostReport]:
        self.done += [("measure", self.held) for _name in unproved]
        return {}


Enter = Callable[[Site], Site]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Enter:
    def enter(site: Site) -> Site:
        monkeypatch.setattr(provision, "load_fleet", lambda _options: site.fleet)
        monkeypatch.setattr(provision, "look_at_all", site.look)
        monkeypatch.setattr(provision, "sole_operator", site.lock)
        monkeypatch.setattr(provision, "_play", site.play)
        monkeypatch.setattr(provision, "smoke_reports", site.measure)
        return site

    return enter


OLD = {"sha256": "0" * 64, "mode": "0755", "owner": "root", "group": "root"}
CHANGED = replace(HEALTHY, recorded={**HEALTHY.recorded, PROGRAM_IS: Answer({**OLD})})


def test_a_measurement_alone_is_done_under_the_lock(at: Enter) -> None:
    site = at(Site(HEALTHY))
    run_provision(Options(), YES)
    assert site.done == [("measure", True)]


def test_change_and_measurement_are_done_under_the_lock(at: Enter) -> None:
    site = at(Site(CHANGED))
    run_provision(Options(), YES)
    assert site.done == [("play", True), ("measure", True)]


@pytest.mark.parametrize("case", [HEALTHY, CHANGED], ids=["healthy", "changed"])
def test_nothing_is_done_while_another_holds_it(at: Enter, case: Case) -> None:
    site = at(Site(case))
    site.taken_by_other = True
    with pytest.raises(LockHeld):
        run_provision(Options(), YES)
    assert site.done == []


def test_a_host_that_gives_no_lock_is_left_alone_and_reported(at: Enter) -> None:
    site = at(Site(CHANGED, {"case": Unreachable("no answer", where="case")}))
    report = run_provision(Options(), YES)
    assert site.done == []
    assert report.exit_code == 3


def test_a_damaged_program_is_mended_although_it_gives_no_lock(at: Enter) -> None:
    site = at(Site(CHANGED, {"case": ProbeFailed("gave no answer", where="case")}))
    run_provision(Options(), YES)
    assert ("play", True) in site.done
