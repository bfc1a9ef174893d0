import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from strixfleet.errors import ChangeFailed
from strixfleet.fleet import class_builds
from strixfleet.fleet.class_builds import ClassBuilds, Parcel, forget_oldest


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def builds(tmp_path: Path) -> ClassBuilds:
    return ClassBuilds(tmp_path / "fleet")


def kept(builds: ClassBuilds, name: str, content: bytes = b"programs") -> Parcel:
    parcel = Parcel("b1-cpu-1", "a" * 40, "halo-1", hashlib.sha256(content).hexdigest(), len(content))
    builds.incoming(name).write_bytes(content)
    builds.keep(name, parcel)
    return parcel


def test_what_came_in_is_found_again(builds: ClassBuilds) -> None:
    assert builds.taken("x") is None
    parcel = kept(builds, "x")
    assert builds.taken("x") == builds.recorded("x") == parcel
    assert builds.path("x").read_bytes() == b"programs"
    assert not builds.incoming("x").exists()


def test_another_fleet_does_not_see_it(builds: ClassBuilds, tmp_path: Path) -> None:
    kept(builds, "x")
    assert ClassBuilds(tmp_path / "other").taken("x") is None


@pytest.mark.parametrize(("sha256", "size_bytes"), [("0" * 64, 8), (None, 7)])
def test_what_is_not_what_its_host_packed_is_not_kept(
    builds: ClassBuilds, sha256: str | None, size_bytes: int
) -> None:
    honest = kept(builds, "x")
    parcel = replace(honest, sha256=sha256 or honest.sha256, size_bytes=size_bytes)
    builds.incoming("y").write_bytes(b"programs")
    with pytest.raises(ChangeFailed, match="is not what it has packed"):
        builds.keep("y", parcel)
    assert builds.taken("y") is None
    assert not builds.incoming("y").exists()


def test_what_changed_since_is_refused(builds: ClassBuilds) -> None:
    kept(builds, "x")
    builds.path("x").write_bytes(b"malware!")
    with pytest.raises(ChangeFailed, match="is not what halo-1 has built"):
        builds.taken("x")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": 1, "extra": 2}'])
def test_a_damaged_record_is_no_record(builds: ClassBuilds, text: str) -> None:
    kept(builds, "x")
    builds.path("x").with_suffix(".json").write_text(text)
    assert builds.taken("x") is None


def test_the_longest_unused_are_forgotten(builds: ClassBuilds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_builds, "MOST_BYTES", 2 * len(b"programs"))
    for number, name in enumerate(["used", "old", "new"]):
        kept(builds, name)
        os.utime(builds.path(name), (number, number))
        if name == "old":
            builds.taken("used")
    assert [builds.taken(name) is not None for name in ("used", "old", "new")] == [True, False, True]


def test_the_last_one_stays_whatever_its_size(builds: ClassBuilds) -> None:
    kept(builds, "large")
    forget_oldest(1)
    assert builds.taken("large") is not None
