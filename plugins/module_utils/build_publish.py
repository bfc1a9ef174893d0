"""Check what was compiled and publish it at one stroke: a build is there whole, or is absent."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from typing import Any

from ansible_collections.strixfleet.fleet.plugins.module_utils.build_process import BuildError, Workshop
from ansible_collections.strixfleet.fleet.plugins.module_utils.on_host import files
from ansible_collections.strixfleet.fleet.plugins.module_utils.on_host.plain_text import plain


PROGRAMS = ("llama-server", "llama-bench", "strixfleet-membw")
MOST_FILES = 256
MOST_BYTES = 8 << 30  # rocBLAS and its like are not among them
BLOCK_BYTES = 1 << 20
VERSION = re.compile(r"^version: .*?(?:build )?(\d+)(?:, commit |\s*\()([0-9a-f]{7,40})\)", re.MULTILINE)


def digests(folder: str) -> dict[str, str]:
    """Return the digests of the files that a build was made of; a link by its target."""
    found = {}
    for parent, _folders, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            relative = os.path.relpath(path, folder)
            if relative not in {"manifest.json", "options"}:
                found[relative] = files.digest(path)
    return dict(sorted(found.items()))


def intact(folder: str) -> bool:
    """Tell whether the files of a published build still are what its manifest says."""
    try:
        with open(os.path.join(folder, "manifest.json"), encoding="utf-8") as file:
            wanted = json.load(file)["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(wanted) and digests(folder) == wanted


def collect(made: str, target: str) -> None:
    """
    Copy programs and libraries, up to a number and a size; links only where they stay inside their folder.

    The compiler's account could write there: what is not a plain file may block for ever.
    """
    for name in ("bin", "lib"):
        os.makedirs(os.path.join(target, name), mode=0o755)
    folder = open_folder(os.path.join(made, "bin"))
    left_bytes = MOST_BYTES
    try:
        for name in chosen(folder):
            copy = os.path.join(target, "bin" if name in PROGRAMS else "lib", name)
            mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                link = os.readlink(name, dir_fd=folder)
                if "/" in link:
                    raise BuildError(f"{name} is a link that leaves its folder")
                os.symlink(link, copy)
            elif not stat.S_ISREG(mode):
                raise BuildError(f"{name} is not a plain file")
            else:
                left_bytes -= copy_file(folder, name, copy, left_bytes)
    finally:
        os.close(folder)


def open_folder(path: str) -> int:
    """Open a folder that the build made, which must not be a link to another one."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as problem:
        raise BuildError(f"the build has no folder bin: {problem.strerror}") from None


def chosen(folder: int) -> Iterator[str]:
    """Name the programs and libraries in a folder."""
    names = [
        name
        for name in sorted(os.listdir(folder))
        if name in PROGRAMS or re.fullmatch(r"lib[\w+-]+\.so(\.\d+)*", name)
    ]
    if len(names) > MOST_FILES:
        raise BuildError(f"the build made {len(names)} programs and libraries, more than {MOST_FILES}")
    yield from names


def copy_file(folder: int, name: str, copy: str, most_bytes: int) -> int:
    """Copy a plain file and return its size."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    size_bytes = 0
    with os.fdopen(os.open(name, flags, dir_fd=folder), "rb") as reader, open(copy, "wb") as writer:
        while block := reader.read(BLOCK_BYTES):
            size_bytes += len(block)
            if size_bytes > most_bytes:
                raise BuildError(f"the build is larger than {MOST_BYTES >> 30} GiB")
            writer.write(block)
    os.chmod(copy, 0o755)  # noqa: S103 - programs and libraries, root's own
    return size_bytes


def check(workshop: Workshop, folder: str, proof: dict[str, str], commit: str) -> tuple[str, int]:
    """
    Prove backend and commit by the programs themselves; return their version text and build number.

    The proof of a backend is its `library`, or its `symbol` in llama-server itself; the CPU's is empty.
    """
    for name in PROGRAMS:
        if not os.path.isfile(os.path.join(folder, "bin", name)):
            raise BuildError(f"the build did not make {name}")
    library = proof.get("library")
    server = os.path.join(folder, "bin", "llama-server")
    if library and not os.path.exists(os.path.join(folder, "lib", library)):
        with open(server, "rb") as file:
            if proof["symbol"].encode() not in file.read():
                raise BuildError(f"the build has no {library}: it would run on the CPU")
    text = "\n".join(workshop.run([server, "--version"], cwd=folder))
    found = VERSION.search(text)
    if not found or not commit.startswith(found[2]):
        raise BuildError(f"llama-server was built from another commit than {commit}: {plain(text[:200])}")
    return text, int(found[1])


def publish(partial: str, final: str, manifest: dict[str, Any]) -> None:
    """Write the manifest, sync everything, and give the build its name by a rename."""
    text = json.dumps({**manifest, "files": digests(partial)}, indent=1, sort_keys=True) + "\n"
    files.write(os.path.join(partial, "manifest.json"), text.encode())
    for parent, _folders, names in os.walk(partial, topdown=False):
        for name in names:
            if not os.path.islink(os.path.join(parent, name)):
                files.sync(os.path.join(parent, name))
        os.chmod(parent, 0o755)  # noqa: S103 - everybody may run them
        files.sync(parent)
    if os.path.lexists(final):
        broken = os.path.join(os.path.dirname(final), f".{os.path.basename(final)}.broken")
        shutil.rmtree(broken, ignore_errors=True)
        os.rename(final, broken)
        os.rename(partial, final)
        shutil.rmtree(broken)
    else:
        os.rename(partial, final)
    files.sync(os.path.dirname(final))
