"""The builds of this host, the links to them, and the refs that were found bad."""

from __future__ import annotations

import json
import os
import re
import shutil

from .. import confined, files
from ..envelope import BAD_BUILD, KNOWN_BAD, Refused
from .option_aliases import OPTIONS, known_options, options_text, respelled, takes_several
from .records import JsonFile, Row, today


BUILDS = "opt/strixfleet/llama.cpp"
BUILD_ID = re.compile(r"[a-z0-9.]+-[a-z]+-[0-9a-f]{8}\Z")
REMEMBERED = 100


class Builds:
    """The builds below a root directory, which is / but in tests."""

    def __init__(self, root: str) -> None:
        self.folder = os.path.join(root, BUILDS)
        self.refused = JsonFile(root, "refused.json")

    def link(self, name: str) -> str | None:
        """Return the build that `current` or `previous` names."""
        try:
            return os.path.basename(os.readlink(os.path.join(self.folder, name)))
        except FileNotFoundError:
            return None

    def point(self, name: str, build: str | None) -> None:
        """Make a link name a build, or remove it; atomically and durably."""
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
        files.sync(self.folder)

    def present(self) -> list[str]:
        """Name the builds on this host."""
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

    def _digest(self, build: str, name: str) -> str | None:
        try:
            return files.digest(os.path.join(self.folder, build, name))
        except OSError:
            return None

    def verify(self, build: str, retry: bool) -> None:
        """Refuse a build that is absent, incomplete, altered, or known to be bad."""
        if not BUILD_ID.match(build):
            raise Refused("%r is not a build id" % build, BAD_BUILD)
        manifest = self.manifest(build)
        if not manifest:
            raise Refused("%s is absent, or has no readable manifest" % build, BAD_BUILD)
        if manifest.get("id") != build or "bin/llama-server" not in manifest["files"]:
            raise Refused("the manifest of %s belongs to another build" % build, BAD_BUILD)
        for name, digest in manifest["files"].items():
            if self._digest(build, name) != digest:
                raise Refused("%s of build %s is not what was built" % (name, build), BAD_BUILD)
        for row in self.bad():
            if row["ref"] == manifest.get("ref") and not retry:
                text = "%s was taken back here on %s (%s); --retry tries it again"
                raise Refused(text % (row["ref"], row["at"], row["reason"]), KNOWN_BAD)

    def spelling(self, build: str) -> str:
        """Return what a build calls options that releases spell differently, as its file OPTIONS has it."""
        if build not in self.present():
            raise Refused("%s is absent" % build, BAD_BUILD)
        text = confined.help_of(os.path.join(self.folder, build, "bin", "llama-server")).out
        if not known_options(text):
            raise Refused("llama-server of %s does not say what its options are" % build, BAD_BUILD)
        return options_text(respelled(text), takes_several(text))

    def spell(self, build: str, spelling: str) -> bool:
        """Write the file OPTIONS of a build; return whether that is new."""
        if build not in self.present():
            raise Refused("%s is absent" % build, BAD_BUILD)
        path = os.path.join(self.folder, build, OPTIONS)
        if (files.read_text(path) or "") == spelling:
            return False
        draft = os.path.join(self.folder, ".options.new")  # not among the files of the build
        files.write(path, spelling.encode(), draft=draft)
        return True

    def discard(self, build: str) -> bool:
        """Remove a build; it loses its name first, so that what is left of it never counts as a build."""
        if build not in self.present():
            return False
        doomed = os.path.join(self.folder, ".discarded-" + build)
        shutil.rmtree(doomed, ignore_errors=True)
        files.rename(os.path.join(self.folder, build), doomed)
        shutil.rmtree(doomed)
        return True

    def bad(self) -> list[Row]:
        """List the refs that were returned or rolled back."""
        rows: list[Row] = self.refused.read().get("refs", [])
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
