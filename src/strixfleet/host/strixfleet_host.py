#!/usr/bin/python3
"""
strixfleet-host: the one program that switches which llama.cpp build a host runs.

    strixfleet-host status
    strixfleet-host activate BUILD_ID [--expect BUILD_ID|none]

Playbook and controller call it alike. It prints one JSON line, holds a lock while it writes, and switches by
renaming a link, so that whoever looks sees the old build or the new one. A build whose files are not what
its manifest says is refused. `--expect` refuses when something else is current by now.
Standard library of Python 3.9 or newer.
"""

import argparse
import fcntl
import hashlib
import json
import os
import re
import sys


BUILDS = "opt/strixfleet/llama.cpp"
LOCK = "var/lib/strixfleet/host.lock"
BUILD_ID = re.compile(r"[a-z0-9.]+-[a-z]+-[0-9a-f]{8}\Z")


class RefusedError(Exception):
    """Why nothing was switched."""


class Builds:
    """The builds below a root directory, which is / but in tests."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.folder = os.path.join(root, BUILDS)

    def link(self, name: str) -> "str | None":
        """Give the build that `current` or `previous` names."""
        try:
            return os.path.basename(os.readlink(os.path.join(self.folder, name)))
        except FileNotFoundError:
            return None

    def present(self) -> "list[str]":
        """Name the builds that are there."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        return sorted(name for name in names if BUILD_ID.match(name))

    def status(self) -> "dict[str, object]":
        """Say what is current, what was before, and what else is there."""
        return {"current": self.link("current"), "previous": self.link("previous"), "builds": self.present()}

    def verify(self, build: str) -> None:
        """Refuse a build that is absent, half there or altered."""
        folder = os.path.join(self.folder, build)
        if not BUILD_ID.match(build):
            raise RefusedError("%r is no build id" % build)
        try:
            with open(os.path.join(folder, "manifest.json"), encoding="utf-8") as file:
                manifest = json.load(file)
            wanted = dict(manifest["files"])
        except (OSError, ValueError, KeyError, TypeError):
            raise RefusedError("%s is absent, or has no readable manifest" % build) from None
        if manifest.get("id") != build or "bin/llama-server" not in wanted:
            raise RefusedError("the manifest of %s belongs to another build" % build)
        for name, digest in wanted.items():
            if describe(os.path.join(folder, name)) != digest:
                raise RefusedError("%s of build %s is not what was built" % (name, build))

    def point(self, name: str, build: str) -> None:
        """Let a link name a build, atomically and durably."""
        draft = os.path.join(self.folder, ".%s.new" % name)
        if os.path.lexists(draft):
            os.unlink(draft)
        os.symlink(build, draft)
        os.rename(draft, os.path.join(self.folder, name))
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def activate(self, build: str, expect: "str | None") -> bool:
        """
        Make a build current and remember the one before; tell whether anything changed.

        `previous` is written first: cut between the two, a second call ends the same way.
        """
        self.verify(build)
        current = self.link("current")
        if current == build:
            return False
        if expect is not None and (current or "none") != expect:
            raise RefusedError("current is %s, not %s" % (current or "none", expect))
        if current is not None:
            self.point("previous", current)
        self.point("current", build)
        return True


def describe(path: str) -> "str | None":
    """Give a file's SHA-256, or where a link leads."""
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


def lock(root: str) -> int:
    """Wait for whoever else is switching; the lock ends with the process."""
    path = os.path.join(root, LOCK)
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def arguments(argv: "list[str]") -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="strixfleet-host", description="Switch llama.cpp builds.")
    parser.add_argument("--root", default="/", help=argparse.SUPPRESS)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("status")
    activate = verbs.add_parser("activate")
    activate.add_argument("build")
    activate.add_argument("--expect")
    return parser.parse_args(argv)


def main(argv: "list[str]") -> int:
    """Do what is asked and print one JSON line; 0 done, 1 refused, 2 wrong usage."""
    given = arguments(argv)
    builds = Builds(given.root)
    answer: "dict[str, object]" = {"schema": "strixfleet/host/1", "changed": False, "error": None}
    try:
        if given.verb == "activate":
            held = lock(given.root)
            answer["changed"] = builds.activate(given.build, given.expect)
            os.close(held)
    except RefusedError as refusal:
        answer["error"] = str(refusal)
    except OSError as problem:
        answer["error"] = "%s: %s" % (problem.filename, problem.strerror)
    answer.update(builds.status())
    print(json.dumps(answer, sort_keys=True))
    return 1 if answer["error"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
