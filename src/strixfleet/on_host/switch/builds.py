"""The builds of this host, the links to them, and the refs that were found bad."""

from __future__ import annotations

import os
import re
import shutil
import time

from .. import confined, files, json_text
from ..envelope import BAD_BUILD, DAMAGED, KNOWN_BAD, Refused
from .option_aliases import OPTIONS, known_options, options_text, respelled, takes_several
from .records import Damaged, Record, Row, has, today


BUILDS = "opt/strixfleet/llama.cpp"
BUILD_ID = re.compile(r"[a-z0-9.]+-[a-z]+-[0-9a-f]{8}\Z")
LINKS = ("current", "previous")
REMEMBERED = 100
MANIFEST_LIMIT_BYTES = 8 << 20
BAD_REF = {"ref": str, "build": str, "reason": str, "at": str}


def _valid(row: Row) -> bool:
    rows = row.get("refs")
    return (
        isinstance(rows, list)
        and len(row) == 1
        and all(isinstance(one, dict) and has(one, BAD_REF) for one in rows)
    )


class Builds:
    """The builds below a root directory, which is / but in tests."""

    def __init__(self, root: str) -> None:
        self.folder = os.path.join(root, BUILDS)
        self.refused = Record(root, "refused.json", _valid)

    def link(self, name: str) -> str | None:
        """Return the build that `current` or `previous` names; None where there is no such link."""
        try:
            return os.path.basename(os.readlink(os.path.join(self.folder, name)))
        except OSError:
            return None

    def _is_foreign(self, path: str) -> bool:
        return os.path.lexists(path) and not os.path.islink(path)

    def check_links(self) -> None:
        """Refuse to go on where something else is in the place of a link."""
        for path in (os.path.join(self.folder, name) for name in LINKS):
            if self._is_foreign(path):
                text = "%s is not a link to a build; hint: move it away, then `strixfleet provision`"
                raise Refused(text % path, DAMAGED)

    def point(self, name: str, build: str | None) -> None:
        """Make a link name a build, or remove it; atomically and durably."""
        path, draft = os.path.join(self.folder, name), os.path.join(self.folder, ".%s.new" % name)
        if self._is_foreign(path):  # kept, under a name that the audit reports
            os.rename(path, os.path.join(self.folder, ".%s.%d" % (name, time.time_ns())))
        if self.link(name) == build:
            return
        if build is None:
            os.unlink(path)
        else:
            if os.path.lexists(draft):
                os.unlink(draft)
            os.symlink(build, draft)
            os.rename(draft, path)
        files.sync(self.folder)

    def go_back(self, build: str | None, previous: str | None) -> None:
        """Point both links where they were; a disk without room for another link keeps no bad build."""
        if build is not None and self.link("current") != build == self.link("previous"):
            current = os.path.join(self.folder, "current")
            if not self._is_foreign(current):
                os.rename(os.path.join(self.folder, "previous"), current)
                files.sync(self.folder)
        self.point("current", build)
        self.point("previous", previous)

    def present(self) -> list[str]:
        """Name the builds on this host."""
        names = os.listdir(self.folder) if os.path.isdir(self.folder) else []
        return sorted(name for name in names if BUILD_ID.match(name))

    def manifest(self, build: str) -> Row:
        """Return a build's manifest, or an empty one."""
        try:
            with files.opened(os.path.join(self.folder, build, "manifest.json")) as file:
                manifest = json_text.parsed_map(file.read(MANIFEST_LIMIT_BYTES))
        except (OSError, ValueError):
            return {}
        return manifest if isinstance(manifest.get("files"), dict) else {}

    def _digest(self, build: str, name: str) -> str | None:
        try:
            return files.digest(os.path.join(self.folder, build, name))
        except (OSError, ValueError):
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
        if retry:
            return
        for row in self._known_bad():
            if row["ref"] == manifest.get("ref"):
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
        """List the refs that were returned or rolled back; none where the list is damaged."""
        try:
            rows: list[Row] = self.refused.read().get("refs", [])
        except Damaged:
            return []
        return rows

    def _known_bad(self) -> list[Row]:
        """List the same; a damaged list may have named any ref."""
        try:
            rows: list[Row] = self.refused.read().get("refs", [])
        except Damaged as problem:
            text = "%s, and may have named this build; hint: --retry tries it, or remove that file"
            raise Refused(text % problem, DAMAGED) from None
        return rows

    def remember(self, build: str, reason: str, bad: bool = True) -> None:
        """Remember that a ref is bad, or forget it."""
        said = self.manifest(build).get("ref")
        ref = said if isinstance(said, str) else build
        rows = [row for row in self.bad() if row["ref"] != ref]
        if not bad and rows == self.bad():
            return
        if bad:
            rows.append({"ref": ref, "build": build, "reason": reason, "at": today()})
        self.refused.write({"refs": rows[-REMEMBERED:]})
