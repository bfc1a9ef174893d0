"""Rival power daemons: whose unit can be masked, and which counts although it was."""

import pytest

from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.machine import Machine
from strixfleet.managed.tuning.aspect import tuning
from strixfleet.on_host.questions import Answer, Answers, Ask, Json, Question


LIB, ETC = "/usr/lib/systemd/system", "/etc/systemd/system"


def stopped(unit: str, **properties: Json) -> dict[Json, Json]:
    """Return {unit: whether it is masked as well} of what the role stops."""
    answers = Answers({Question(Ask.UNIT, unit): Answer(dict(properties))})
    deeds = [deed for thing in tuning(HostSettings(), Machine()) for deed in thing.deeds(answers)]
    rows = [deed.arguments for deed in deeds if deed.kind == "stopped_unit"]
    return {str(row["name"]): row["masked"] for row in rows}


@pytest.mark.parametrize(("folder", "masked"), [(LIB, True), (ETC, False), ("", True)])
def test_a_unit_of_the_administrator_s_own_is_stopped_and_not_masked(folder: str, masked: bool) -> None:
    """`systemctl mask` refuses where a unit file is in the way of its link."""
    unit = "auto-cpufreq.service"
    path = f"{folder}/{unit}" if folder else ""
    found = stopped(
        unit, LoadState="loaded", ActiveState="active", UnitFileState="enabled", FragmentPath=path
    )
    assert found == {unit: masked}


@pytest.mark.parametrize(("active", "rival"), [("active", True), ("inactive", False)])
def test_what_was_masked_and_runs_on_is_a_rival(active: str, rival: bool) -> None:
    unit = "power-profiles-daemon.service"
    found = stopped(unit, LoadState="masked", ActiveState=active, UnitFileState="masked", FragmentPath="")
    assert bool(found) is rival
