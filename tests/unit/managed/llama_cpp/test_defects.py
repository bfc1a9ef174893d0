"""A build that is known to be bad: a row of the audit, and a reason not to install it."""

import json
from dataclasses import replace
from datetime import date

import pytest

from strixfleet.findings.items import Cure, Difference, Status, waive
from strixfleet.inventory.schema.parts import Waiver
from strixfleet.inventory.schema.settings import LLAMA_CPP_REPOSITORY, HostSettings
from strixfleet.managed.llama_cpp.build import Manifest, parse_manifest
from strixfleet.managed.llama_cpp.defects import defect_rows, refused_pin
from strixfleet.managed.machine import Machine


HALO = Machine(gfx="gfx1151", gtt_gib=96, os_id="debian", os_version="13")
COMMIT = "c" * 40
ITEM = "llama_cpp:defect.rocm-host-buffers"


def settings(ref: str | None, **more: object) -> HostSettings:
    return HostSettings.model_validate({"llama_cpp_ref": ref, "llama_cpp_backend": "rocm", **more})


def current(ref: str, build: int, repository: str = LLAMA_CPP_REPOSITORY) -> Manifest:
    text = {
        "id": "x",
        "ref": ref,
        "commit": COMMIT,
        "backend": "rocm",
        "build_number": build,
        "definitions": {},
        "files": {"bin/llama-server": "0" * 64},
        "repository": repository,
    }
    found = parse_manifest(json.dumps(text))
    assert found is not None
    return found


def rows(
    pin: str, number: int | None, runs: Manifest | None = None, gfx: str = "gfx1151"
) -> list[Difference]:
    return [*defect_rows(settings(pin), replace(HALO, gfx=gfx), number, runs)]


def test_a_bad_pin_is_drift_with_reason_source_and_nearest_good_build() -> None:
    (row,) = rows("b10500", 10500)
    assert (row.id, row.status, row.cure) == (ITEM, Status.DRIFT, Cure.MANUAL)
    assert (row.want, row.have) == ("b10865", {"pinned": "b10500"})
    assert "b10500 answers nonsense beyond a micro-batch" in row.message
    assert "issues/28211); pin b10865" in row.message
    assert refused_pin([row]) == (row.message,)


def test_a_bad_build_that_runs_is_drift_and_no_reason_against_a_good_pin() -> None:
    (row,) = rows("b10991", 10991, current("b10500", 10500))
    assert (row.status, row.have) == (Status.DRIFT, {"current": "b10500"})
    assert refused_pin([row]) == ()


def test_one_defect_of_both_builds_is_one_row() -> None:
    (row,) = rows("b10501", 10501, current("b10500", 10500))
    assert row.have == {"pinned": "b10501", "current": "b10500"}


def test_other_gpus_and_good_builds_have_no_row() -> None:
    assert rows("b10500", 10500, gfx="gfx1100") == []
    assert rows("b10991", 10991, current("b10991", 10991)) == []


@pytest.mark.parametrize(
    ("runs", "number", "seen"),
    [
        (current(COMMIT, 10500), None, {"current": COMMIT}),
        (current(COMMIT, 10500, "/srv/llama.cpp"), None, None),
        (current(COMMIT, 1, "/srv/llama.cpp"), 10500, {"pinned": COMMIT, "current": COMMIT}),
    ],
    ids=["upstream counts", "a mirror's count tells nothing", "the controller's mirror tells"],
)
def test_the_build_of_a_commit_is_known_from_upstream_or_from_a_mirror(
    runs: Manifest, number: int | None, seen: dict[str, str] | None
) -> None:
    assert next((row.have for row in rows(COMMIT, number, runs)), None) == seen


def test_a_slow_build_is_said_and_is_no_drift() -> None:
    slow = settings("b10800", llama_cpp_backend="vulkan")
    (row,) = defect_rows(slow, HALO, 10800, None)
    assert row.status is Status.OK
    assert "halves the prefill" in row.message
    assert refused_pin([row]) == ()


def test_a_waiver_accepts_a_bad_pin_until_its_date() -> None:
    waiver = Waiver(item=ITEM, reason="we carry #28604", expires=date(2026, 12, 31))
    found = rows("b10500", 10500)
    accepted = waive(found, [waiver], date(2026, 12, 31))
    assert [row.status for row in accepted] == [Status.WAIVED]
    assert refused_pin(accepted) == ()
    assert refused_pin(waive(found, [waiver], date(2027, 1, 1)))
