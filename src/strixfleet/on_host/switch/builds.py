"""The builds of this host, the links that name one, and the refs that were found bad."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from typing import List, Optional

from strixfleet.on_host.switch.option_aliases import (
    OPTIONS,
    known_options,
    options_text,
    respelled,
    takes_several,
)
from strixfleet.on_host.switch.records import JsonFile, Refused, Row, sync_folder, today


BUILDS = "opt/strixfleet/llama.cpp"
BUILD_ID = re.compile(r"[a-z0-9.]+-[a-z]+-[0-9a-f]{8}\Z")
REMEMBERED = 100
HELP_S = 60.0


def describe(path: str) -> Optional[str]:
    """Return a file's SHA-256, or where a link leads."""
    try:
        if os.path.islink(path):
            return "-> " + os.readlink(path)
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
        return digest.hexdigest()
    except OSError:
        return None


def help_of(program: str) -> str:
    """Return what a program says of its options, run without rights; nothing where it does not say."""
    root = os.geteuid() == 0
    try:
        done = subprocess.run(
            [program, "--help"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=HELP_S,
            check=False,
            user="nobody" if root else None,
            group="nogroup" if root else None,
            extra_groups=[] if root else None,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")


class Builds:
    """The builds below a root directory, which is / but in tests."""

    def __init__(self, root: str) -> None:
        self.folder = os.path.join(root, BUILDS)
        self.refused = JsonFile(root, "refused.json")

    def link(self, name: str) -> Optional[str]:
        """Return the build that `current` or `previous` names."""
        try:
            return os.path.basename(os.readlink(os.path.join(self.folder, name)))
        except FileNotFoundError:
            return None

    def point(self, name: str, build: Optional[str]) -> None:
        """Let a link name a build, or be gone; atomically and durably."""
        if self.link(name) == build:
            return
        path, draft = os.path.join(self.folder, name), os.path.join(self.folder, ".%s.new" % name)
        if build is None:
            os.unlink(path)
        else:
            if os.path.lexists(draft):
                os.unlink(draft)
            os.symlink(build, draft)
            os.rename(draft, path)
        sync_folder(self.folder)

    def present(self) -> List[str]:
        """Name the builds that are there."""
        names = os.listdir(self.folder) if os.path.isdir(self.folder) else []
        return sorted(name for name in names if BUILD_ID.match(name))

    def manifest(self, build: str) -> Row:
        """Return a build's manifest, or an empty one."""
        try:
            with open(os.path.join(self.folder, build, "manifest.json"), encoding="utf-8") as file:
                manifest: Row = json.load(file)
            return manifest if isinstance(manifest["files"], dict) else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def verify(self, build: str, retry: bool) -> None:
        """Refuse a build that is absent, half there, altered, or known to be bad."""
        if not BUILD_ID.match(build):
            raise Refused("%r is no build id" % build)
        manifest = self.manifest(build)
        if not manifest:
            raise Refused("%s is absent, or has no readable manifest" % build)
        if manifest.get("id") != build or "bin/llama-server" not in manifest["files"]:
            raise Refused("the manifest of %s belongs to another build" % build)
        for name, digest in manifest["files"].items():
            if describe(os.path.join(self.folder, build, name)) != digest:
                raise Refused("%s of build %s is not what was built" % (name, build))
        for row in self.bad():
            if row["ref"] == manifest.get("ref") and not retry:
                text = "%s was taken back here on %s (%s); --retry tries it again"
                raise Refused(text % (row["ref"], row["at"], row["reason"]))

    def spelling(self, build: str) -> str:
        """Return what a build calls options that releases spell differently, as its file OPTIONS has it."""
        if build not in self.present():
            raise Refused("%s is absent" % build)
        text = help_of(os.path.join(self.folder, build, "bin", "llama-server"))
        if not known_options(text):
            raise Refused("llama-server of %s does not say what its options are" % build)
        return options_text(respelled(text), takes_several(text))

    def spell(self, build: str, spelling: str) -> bool:
        """Write the file OPTIONS of a build; tell if that is new."""
        if build not in self.present():
            raise Refused("%s is absent" % build)
        path, draft = os.path.join(self.folder, build, OPTIONS), os.path.join(self.folder, ".options.new")
        wanted = spelling.encode()
        if (describe(path) or hashlib.sha256().hexdigest()) == hashlib.sha256(wanted).hexdigest():
            return False
        with open(draft, "wb") as file:
            file.write(wanted)
            os.fchmod(file.fileno(), 0o644)
            file.flush()
            os.fsync(file.fileno())
        os.rename(draft, path)
        sync_folder(os.path.dirname(path))
        return True

    def discard(self, build: str) -> bool:
        """Remove a build; it loses its name first, so that no half of it is taken for whole."""
        if build not in self.present():
            return False
        doomed = os.path.join(self.folder, ".discarded-" + build)
        shutil.rmtree(doomed, ignore_errors=True)
        os.rename(os.path.join(self.folder, build), doomed)
        sync_folder(self.folder)
        shutil.rmtree(doomed)
        return True

    def bad(self) -> List[Row]:
        """List the refs that were returned or rolled back."""
        rows: List[Row] = self.refused.read().get("refs", [])
        return rows

    def remember(self, build: str, reason: str, bad: bool = True) -> None:
        """Remember that a ref is bad, or forget it."""
        ref = self.manifest(build).get("ref", build)
        rows = [row for row in self.bad() if row["ref"] != ref]
        if not bad and rows == self.bad():
            return
        if bad:
            rows.append({"ref": ref, "build": build, "reason": reason, "at": today()})
        self.refused.write({"refs": rows[-REMEMBERED:]})
