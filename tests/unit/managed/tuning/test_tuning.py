"""Rival power daemons: whose unit can be masked, and which counts although it was."""

import pytest

from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.aspect import Situation
from strixfleet.managed.facts import Facts
from strixfleet.managed.tuning.aspect import Tuning
from strixfleet.on_host.questions import Answer, Answers, Ask, Json, Question


LIB, ETC = "/usr/lib/systemd/system", "/etc/systemd/system"


def compiled(unit: str, **properties: Json) -> dict[str, Json]:
    answers = Answers({Question(Ask.UNIT, unit): Answer(dict(properties))})
    host = Host("h", Connection("127.0.0.1"), HostSettings())
    return Tuning.compile(Situation(host, Facts(), None, "", answers)).role_vars()


@pytest.mark.parametrize(
    ("folder", "masked"), [(LIB, ["auto-cpufreq.service"]), (ETC, []), ("", ["auto-cpufreq.service"])]
)
def test_a_unit_of_the_administrator_s_own_is_stopped_and_not_masked(folder: str, masked: list[str]) -> None:
    """`systemctl mask` refuses where a unit file is in the way of its link."""
    unit = "auto-cpufreq.service"
    path = f"{folder}/{unit}" if folder else ""
    found = compiled(
        unit, LoadState="loaded", ActiveState="active", UnitFileState="enabled", FragmentPath=path
    )
    assert (found["tuning_rivals"], found["tuning_masked"]) == ([unit], masked)


@pytest.mark.parametrize(("active", "rival"), [("active", True), ("inactive", False)])
def test_what_was_masked_and_runs_on_is_a_rival(active: str, rival: bool) -> None:
    unit = "power-profiles-daemon.service"
    found = compiled(unit, LoadState="masked", ActiveState=active, UnitFileState="masked", FragmentPath="")
    assert bool(found["tuning_rivals"]) is rival
