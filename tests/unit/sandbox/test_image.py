"""The cache of base systems: what is in use or was asked for lately stays."""

import os
import time
from pathlib import Path

import pytest

from strixfleet.sandbox import image, image_packages


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(image, "cache_dir", lambda: tmp_path)
    for name, age_days in (("base-old", 8), ("base-recent", 6), ("base-mounted", 400)):
        (tmp_path / name / "etc").mkdir(parents=True)
        (tmp_path / "layers" / name / "provisioned").mkdir(parents=True)
        used = tmp_path / f"{name}.used"
        used.touch()
        os.utime(used, (time.time() - age_days * 86400,) * 2)
    return tmp_path


def test_only_what_is_neither_mounted_nor_recent_is_removed(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "_is_mounted", lambda folder: folder.name == "base-mounted")
    image.prune()
    assert {path.name for path in cache.glob("base-*") if path.is_dir()} == {"base-mounted", "base-recent"}
    assert not (cache / "layers" / "base-old").exists()
    assert (cache / "layers" / "base-mounted" / "provisioned").is_dir()


def test_mounted_folders_are_seen_by_evidence(tmp_path: Path) -> None:
    mount_point = Path("/proc/self/mountinfo").read_text().split()[4]
    assert image._is_mounted(Path(mount_point))
    assert not image._is_mounted(tmp_path / "nothing")


def test_sources_leave_out_suites_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "reachable", lambda url: "backports" not in url)
    text = image.apt_sources("http://mirror/debian", "http://mirror/security")
    assert "Suites: trixie\n" in text
    assert "URIs: http://mirror/security\nSuites: trixie-security" in text
    assert "backports" not in text
    assert text.count("Components: main non-free-firmware") == 3


def test_a_machine_without_security_mirror_still_has_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "reachable", lambda _url: True)
    assert "security" not in image.apt_sources("http://mirror/debian", "")


def test_recipe_digest_changes_with_any_file_of_the_guest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "mirrors", lambda: ("a", "b"))
    monkeypatch.setattr(image, "proxy", lambda: "")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/file").write_text("one")
    one = image.recipe_digest(tmp_path)
    (tmp_path / "etc/file").write_text("two")
    assert image.recipe_digest(tmp_path) != one


def test_packages_are_shared_by_links_and_collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_packages, "cache_dir", lambda: tmp_path)
    first = image_packages.offer("one")
    (first / "a_1_amd64.deb").write_text("package")
    (first / "partial" / "b_1_amd64.deb").write_text("half")
    (first / "c_1_amd64.deb").symlink_to("/etc/passwd")
    (first / "lock").touch()
    image_packages.collect("one")
    assert not first.exists()
    second = image_packages.offer("two")
    assert [path.name for path in second.glob("*.deb")] == ["a_1_amd64.deb"]
    package = second / "a_1_amd64.deb"
    kept = image_packages.pool() / package.name
    assert package.stat().st_ino == kept.stat().st_ino
    package.unlink()
    assert kept.read_text() == "package", "apt-get clean keeps the pool"
