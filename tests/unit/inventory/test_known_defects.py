"""The table of known defects: what it must hold to be read, and what follows for a build."""

from typing import Any

import pytest
import yaml

from strixfleet.inventory.known_defects import (
    Defect,
    Effect,
    Use,
    judge,
    known_defects,
    read_table,
    tagged_build,
)


ROW: dict[str, Any] = {
    "id": "one-thing",
    "effect": "wrong_output",
    "what": "answers nonsense",
    "backends": ["rocm"],
    "gpus": ["gfx1151"],
    "option": None,
    "first_bad": 100,
    "first_good": 200,
    "uncertain": None,
    "cure": None,
    "sources": ["https://example.org/issues/1"],
}
HALO = Use("rocm", "gfx1151")


def table(*rows: dict[str, Any]) -> tuple[Defect, ...]:
    return read_table(yaml.safe_dump([{**ROW, **row} for row in rows]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"effect": "odd"}, "row 0.effect"),
        ({"backends": ["cuda"]}, r"row 0.backends.0"),
        ({"gpus": ["8060S"]}, "row 0.gpus.0"),
        ({"first_bad": "100"}, "row 0.first_bad"),
        ({"first_bad": 200}, "first_bad is not before first_good"),
        ({"first_good": 0}, "row 0.first_good"),
        ({"sources": []}, "row 0.sources"),
        ({"sources": ["http://example.org"]}, "row 0.sources.0"),
        ({"id": "One"}, "row 0.id"),
        ({"note": "x"}, "row 0.note"),
    ],
)
def test_a_row_that_is_not_in_order_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        table(change)


def test_every_field_must_be_there() -> None:
    for name in ROW:
        row = {key: value for key, value in ROW.items() if key != name}
        with pytest.raises(ValueError, match=f"row 0.{name}: Field required"):
            read_table(yaml.safe_dump([row]))


def test_an_id_is_there_once() -> None:
    with pytest.raises(ValueError, match="one-thing is there twice"):
        table({}, {"first_bad": 300, "first_good": 400})


@pytest.mark.parametrize(("build", "bad"), [(99, False), (100, True), (199, True), (200, False)])
def test_a_range_has_its_first_bad_build_and_not_its_first_good(build: int, *, bad: bool) -> None:
    assert bool(judge(build, HALO, table({})).defects) == bad


def test_a_range_may_be_open_at_either_end() -> None:
    assert judge(1, HALO, table({"first_bad": None})).defects
    assert judge(999999, HALO, table({"first_good": None})).defects


@pytest.mark.parametrize(
    ("use", "concerned"),
    [
        (HALO, True),
        (Use("vulkan", "gfx1151"), False),
        (Use("rocm", "gfx1150"), False),
        (Use("rocm", None), False),
    ],
)
def test_a_defect_concerns_its_backends_on_its_gpus(use: Use, *, concerned: bool) -> None:
    assert bool(judge(150, use, table({})).defects) == concerned
    assert judge(150, use, table({"backends": [], "gpus": []})).defects


def test_a_defect_of_an_option_concerns_hosts_that_set_it() -> None:
    rows = table({"option": "sleep-idle-seconds"})
    assert not judge(150, HALO, rows).defects
    assert judge(150, Use("rocm", "gfx1151", frozenset({"sleep-idle-seconds"})), rows).defects


def test_the_nearest_good_build_is_free_of_everything_that_refuses() -> None:
    rows = table({}, {"id": "two", "first_bad": 200, "first_good": 250}, {"id": "slow", "effect": "slow"})
    assert judge(150, HALO, rows).nearest_good == 250
    assert judge(50, HALO, rows).nearest_good == 50
    open_end = table({}, {"id": "two", "first_bad": 200, "first_good": None})
    assert judge(150, HALO, open_end).nearest_good == 99
    assert judge(150, HALO, table({"first_bad": None, "first_good": None})).nearest_good is None


def test_what_refuses_comes_first() -> None:
    rows = table({"id": "slow", "effect": "slow"}, {"id": "bad"})
    assert [one.id for one in judge(150, HALO, rows).defects] == ["bad", "slow"]


def test_a_tag_tells_its_build() -> None:
    assert tagged_build("b10991") == 10991
    told = [tagged_build(ref) for ref in (None, "b", "v0.3.36", "0" * 40, "b1 ", "b" + "1" * 5000)]
    assert told == [None] * 6


def test_the_table_of_this_version_knows_the_autumn_of_2026() -> None:
    def refused(build: int, backend: str, gpu: str = "gfx1151") -> list[str]:
        return [one.id for one in judge(build, Use(backend, gpu)).defects if one.refuses]

    assert refused(10864, "rocm") == refused(10864, "rocm", "gfx1150") == ["rocm-host-buffers"]
    assert refused(10865, "rocm") == refused(10864, "vulkan") == refused(10038, "rocm") == []
    assert refused(8940, "cpu") == ["server-negative-n-discard"]
    assert "gguf-size-overflow" in refused(8145, "vulkan")
    assert [one.id for one in judge(10866, Use("vulkan", "gfx1151")).defects] == ["vulkan-lazy-tensors"]
    assert not judge(10991, Use("vulkan", "gfx1151")).defects


def test_what_is_said_of_a_defect_fits_a_row_of_a_report() -> None:
    assert {one.effect for one in known_defects()} == set(Effect)
    for defect in known_defects():
        gpu = defect.gpus[0] if defect.gpus else None
        options = frozenset({defect.option}) if defect.option else frozenset[str]()
        use = Use(defect.backends[0] if defect.backends else "cpu", gpu, options)
        judgement = judge((defect.first_good or 20000) - 1, use)
        said = f"{judgement.sentence(defect, 'c' * 40)}; {judgement.remedy(defect)}"
        assert len(said) <= 300, said
