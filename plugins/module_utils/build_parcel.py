"""
Pack a published build for other hosts of its class, and unpack one that another host has made.

A parcel is an uncompressed tar: the manifest, and all programs and libraries in one folder, as a compiler
leaves them, so that what was sent is collected with the same care as what was compiled.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from typing import Any

from ansible_collections.strixfleet.fleet.plugins.module_utils import build_publish
from ansible_collections.strixfleet.fleet.plugins.module_utils.build_process import BuildError, Workshop
from ansible_collections.strixfleet.fleet.plugins.module_utils.on_host import files


MANIFEST = "manifest.json"
MOST_MANIFEST_BYTES = 1 << 20


def pack(build: str, parcel: str) -> dict[str, Any]:
    """Write the parcel of a published build, the same bytes each time; return its digest and size."""
    with tarfile.open(parcel, "x", format=tarfile.PAX_FORMAT) as tar:
        tar.add(os.path.join(build, MANIFEST), MANIFEST, filter=_alike)
        for path in sorted(build_publish.digests(build)):
            tar.add(os.path.join(build, path), f"bin/{os.path.basename(path)}", filter=_alike)
    os.chmod(parcel, 0o644)
    return {"sha256": files.sha256(parcel), "size_bytes": os.stat(parcel).st_size}


def _alike(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out what differs between hosts and moments."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def unpack(workshop: Workshop, parcel: str, sha256: str) -> str:
    """
    Unpack a parcel into the workshop, as the account that compiles and without a network.

    It is copied first: whoever sent it may still write to the original.
    """
    made = workshop.own_folder("obj")
    copy = os.path.join(workshop.folder, "parcel.tar")
    with files.opened(parcel) as reader, open(copy, "wb") as writer:
        shutil.copyfileobj(reader, writer, build_publish.BLOCK_BYTES)
    if files.sha256(copy) != sha256:
        raise BuildError(f"what arrived has not the SHA-256 {sha256} that was recorded when it was built")
    os.chmod(copy, 0o644)
    workshop.run(["tar", "--extract", "--no-same-owner", f"--file={copy}"], cwd=made)
    os.unlink(copy)
    return made


def manifest_in(made: str) -> dict[str, Any]:
    """Read the manifest of an unpacked parcel."""
    try:
        text = files.read_text(os.path.join(made, MANIFEST), MOST_MANIFEST_BYTES)
        found = json.loads(text or "")
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise BuildError("what arrived has no manifest")
    return found


def refuse_other(manifest: dict[str, Any], wanted: dict[str, Any], found: dict[str, str]) -> None:
    """Refuse a build that is not the wanted one, or whose files are not those of its manifest."""
    for name in ("id", "commit"):
        if manifest.get(name) != wanted[name]:
            raise BuildError(f"what arrived is a build with {name} {manifest.get(name)}, not {wanted[name]}")
    if manifest.get("files") != found:
        raise BuildError("what arrived has other files than its manifest says")
