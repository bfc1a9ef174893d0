"""What goes from one host to the others of its class, and what of it is refused."""

import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from strixfleet.on_host import files


Plugin = Callable[[str], ModuleType]
Change = Callable[[dict[str, Any]], None]
Forged = tuple[Change, list[tarfile.TarInfo], str]  # of the manifest; further entries; why it is refused
WANTED = {"id": "b1-cpu-1", "commit": "a" * 40}


@pytest.fixture
def steps(plugin: Plugin) -> ModuleType:
    return plugin("module_utils.build_parcel")


@pytest.fixture
def publish_steps(plugin: Plugin) -> ModuleType:
    return plugin("module_utils.build_publish")


@pytest.fixture
def refused(plugin: Plugin) -> type[Exception]:
    found: type[Exception] = plugin("module_utils.build_process").BuildError
    return found


@pytest.fixture
def workshop(tmp_path: Path, refused: type[Exception]) -> SimpleNamespace:
    """Stand in for a workshop: its tools run as whoever tests."""
    folder = tmp_path / "workshop"

    def own_folder(name: str) -> str:
        (folder / name).mkdir(parents=True)
        return str(folder / name)

    def run(argv: list[str], cwd: str) -> None:
        if subprocess.run(argv, cwd=cwd, check=False).returncode != 0:
            raise refused("tar failed")

    return SimpleNamespace(folder=str(folder), own_folder=own_folder, run=run)


@pytest.fixture
def build(publish_steps: ModuleType, tmp_path: Path) -> Path:
    """Publish a build."""
    folder = tmp_path / "builds" / "b1-cpu-1"
    for name in ("bin/llama-server", "bin/llama-bench", "bin/strixfleet-membw", "lib/libggml.so.0.1"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="ascii")
    (folder / "lib" / "libggml.so").symlink_to("libggml.so.0.1")
    final = tmp_path / "b1-cpu-1"
    publish_steps.publish(str(folder), str(final), {**WANTED, "built_on": "halo-1"})
    return final


@pytest.fixture
def take(
    steps: ModuleType, publish_steps: ModuleType, workshop: SimpleNamespace, tmp_path: Path
) -> Callable[[Path, str], Path]:
    """Do what the module llama_take does, but for running the programs."""

    def taken(parcel: Path, sha256: str) -> Path:
        made = steps.unpack(workshop, str(parcel), sha256)
        manifest = steps.manifest_in(made)
        partial = tmp_path / "partial"
        partial.mkdir()
        publish_steps.collect(made, str(partial))
        steps.refuse_other(manifest, WANTED, publish_steps.digests(str(partial)))
        publish_steps.publish(str(partial), str(tmp_path / "taken"), manifest)
        return tmp_path / "taken"

    return taken


def test_what_is_taken_is_what_was_built_byte_by_byte(
    steps: ModuleType,
    publish_steps: ModuleType,
    take: Callable[[Path, str], Path],
    build: Path,
    tmp_path: Path,
) -> None:
    (build / "options").write_text("of this host alone", encoding="ascii")
    packed = steps.pack(str(build), str(tmp_path / "build.tar"))
    final = take(tmp_path / "build.tar", packed["sha256"])
    assert publish_steps.intact(str(final))
    assert publish_steps.digests(str(final)) == publish_steps.digests(str(build))
    assert (final / "manifest.json").read_bytes() == (build / "manifest.json").read_bytes()
    assert not (final / "options").exists()
    assert packed["size_bytes"] == (tmp_path / "build.tar").stat().st_size


def test_the_same_build_is_packed_alike(steps: ModuleType, build: Path, tmp_path: Path) -> None:
    first = steps.pack(str(build), str(tmp_path / "first.tar"))
    (build / "bin" / "llama-server").touch()
    assert steps.pack(str(build), str(tmp_path / "second.tar")) == first


def test_another_digest_is_refused_before_anything_is_unpacked(
    steps: ModuleType, workshop: SimpleNamespace, build: Path, tmp_path: Path, refused: type[Exception]
) -> None:
    steps.pack(str(build), str(tmp_path / "build.tar"))
    with pytest.raises(refused, match="has not the SHA-256"):
        steps.unpack(workshop, str(tmp_path / "build.tar"), "0" * 64)
    assert list(Path(workshop.folder, "obj").iterdir()) == []


def forged(
    build: Path, parcel: Path, change: Callable[[dict[str, Any]], None], *more: tarfile.TarInfo
) -> str:
    """Pack a build as a host that was broken into might: the digest fits."""
    manifest = json.loads((build / "manifest.json").read_bytes())
    change(manifest)
    text = json.dumps(manifest).encode()
    with tarfile.open(parcel, "w") as tar:
        about = tarfile.TarInfo("manifest.json")
        about.size = len(text)
        tar.addfile(about, io.BytesIO(text))
        for path in [*build.glob("bin/*"), *build.glob("lib/*")]:
            tar.add(path, f"bin/{path.name}")
        for one in more:
            tar.addfile(one)
    return files.sha256(str(parcel))


def entry(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


def nothing(_manifest: dict[str, Any]) -> None:
    pass


@pytest.mark.parametrize(
    "case",
    [
        (lambda manifest: manifest.update(id="b2-cpu-2"), [], "with id b2-cpu-2, not b1-cpu-1"),
        (lambda manifest: manifest.update(commit="b" * 40), [], "with commit bbb"),
        (lambda manifest: manifest["files"].update({"bin/llama-server": "0" * 64}), [], "other files"),
        (lambda manifest: manifest["files"].pop("bin/llama-server"), [], "other files"),
        (nothing, [entry("bin/libevil.so", tarfile.SYMTYPE, "/etc/shadow")], "leaves its folder"),
        (nothing, [entry("bin/libevil.so", tarfile.FIFOTYPE)], "is not a plain file"),
        (nothing, [entry("bin/libmore.so", tarfile.REGTYPE)], "other files"),
    ],
)
def test_a_forged_build_is_refused(
    take: Callable[[Path, str], Path], build: Path, refused: type[Exception], case: Forged
) -> None:
    change, more, why = case
    parcel = build.with_name("forged.tar")
    sha256 = forged(build, parcel, change, *more)
    with pytest.raises(refused, match=why):
        take(parcel, sha256)


@pytest.mark.parametrize("manifest", ["fifo", "link", "list", "none"])
def test_a_manifest_that_is_none_is_refused(
    steps: ModuleType, tmp_path: Path, refused: type[Exception], manifest: str
) -> None:
    path = tmp_path / "manifest.json"
    if manifest == "fifo":
        subprocess.run(["mkfifo", str(path)], check=True)
    elif manifest == "link":
        path.symlink_to("/dev/zero")
    elif manifest == "list":
        path.write_text("[]", encoding="ascii")
    with pytest.raises(refused, match="has no manifest"):
        steps.manifest_in(str(tmp_path))


def test_nothing_is_unpacked_outside_the_workshop(
    steps: ModuleType, workshop: SimpleNamespace, build: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    parcel = tmp_path / "forged.tar"
    about = entry(f"../../{outside.name}", tarfile.REGTYPE)
    sha256 = forged(build, parcel, nothing, about)
    with pytest.raises(Exception, match="tar failed"):
        steps.unpack(workshop, str(parcel), sha256)
    assert not outside.exists()
