"""Bring the pinned commit of llama.cpp onto the host and prove that it is the one that was meant."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from datetime import date
from glob import glob
from typing import Any, NamedTuple

from ansible_collections.strixfleet.fleet.plugins.module_utils.build_process import BuildError, Workshop
from ansible_collections.strixfleet.fleet.plugins.module_utils.on_host import git_safety


BUILDS = "/opt/strixfleet/llama.cpp"
# Files are checked out byte by byte: no attribute of the repository converts them.
AS_COMMITTED = {"GIT_ATTR_SOURCE": "4b825dc642cb6eb9a060e54bf8d69288fbee4904"}  # git's empty tree
COMMIT = re.compile(r"[0-9a-f]{40}\Z")


class Source(NamedTuple):
    """A checked-out pin."""

    commit: str
    tree: str
    folder: str


class Repository:
    """
    The host's bare copy of llama.cpp.

    It belongs to the account that runs git and nothing else: what a build writes into a repository, such as
    a filter in its configuration, would change what the next pin is compiled from.
    """

    def __init__(self, workshop: Workshop, folder: str) -> None:
        self.workshop = workshop
        self.folder = folder

    def git(self, *arguments: str, network: bool = False) -> list[str]:
        """Run git in the repository under options that make hostile content inert."""
        argv = [*git_safety.command(), f"--git-dir={self.folder}", *arguments]
        return self.workshop.run(
            argv,
            cwd=self.workshop.folder,
            network=network,
            environment={**git_safety.ENVIRONMENT, **AS_COMMITTED},
            account=self.workshop.source_account,
        )

    def ask(self, *arguments: str) -> str | None:
        """Return the only line that git prints, None where it fails."""
        try:
            lines = self.git(*arguments)
        except BuildError:
            return None
        said = [line.strip() for line in lines if not line.startswith(("warning:", "hint:"))]
        return said[-1] if said else ""

    def fetch_url(self, url: str) -> None:
        """Fetch all branches and tags with their history; files come when they are checked out."""
        self._init()
        for name, value in (("url", url), ("promisor", "true"), ("partialclonefilter", "blob:none")):
            self.git("config", f"remote.origin.{name}", value)
        refs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        self.git("fetch", "--prune", "--no-auto-gc", "--filter=blob:none", "origin", *refs, network=True)

    def fetch_bundle(self, path: str, commit: str) -> None:
        """Take the one commit that the controller has resolved, verified and sent."""
        self._init()
        self.git("fetch", "--no-auto-gc", path, f"+refs/strixfleet/pin:refs/strixfleet/pins/{commit}")
        if self.ask("rev-parse", "--verify", "--quiet", f"refs/strixfleet/pins/{commit}") != commit:
            raise BuildError(f"the bundle does not hold commit {commit}")

    def _init(self) -> None:
        if not os.path.isfile(os.path.join(self.folder, "HEAD")):
            self.git("init", "--quiet", "--bare", "--", self.folder)

    def resolve(self, ref: str) -> str:
        """Find what a pin names; a commit counts only when some branch or tag reaches it."""
        if not COMMIT.match(ref):
            commit = self.ask(
                "rev-parse", "--verify", "--quiet", "--end-of-options", f"refs/tags/{ref}^{{commit}}"
            )
            if not commit:
                raise BuildError(f"the repository has no tag {ref}; hint: pin a tag that exists, or a commit")
            if branch := self.ask("rev-parse", "--verify", "--quiet", f"refs/heads/{ref}"):
                raise BuildError(
                    f"the repository has both a tag and a branch {ref}, at {commit} and {branch}; "
                    "hint: pin the 40-digit commit that you mean"
                )
            return commit
        for kind in ("heads", "tags"):
            if self.ask("rev-parse", "--verify", "--quiet", f"refs/{kind}/{ref}"):
                raise BuildError(f"a branch or tag is named {ref}, like a commit: this repository is forged")
        if self.ask("cat-file", "-t", ref) != "commit":
            raise BuildError(f"the repository has no commit {ref}; hint: check the pin")
        if not self.ask("for-each-ref", "--count=1", f"--contains={ref}", "refs/heads", "refs/tags"):
            raise BuildError(
                f"no branch or tag reaches {ref}: it may come from a fork; hint: pin the project's own"
            )
        return ref

    def build_number(self, commit: str) -> int | None:
        """Return llama.cpp's number of a commit, counted from the nearest tag bNNNN; None without one."""
        described = self.ask("describe", "--tags", "--long", "--match=b[0-9]*", commit) or ""
        found = re.match(r"b(\d{1,7})-(\d{1,7})-g[0-9a-f]+\Z", described)
        return int(found[1]) + int(found[2]) if found else None

    def check_out(self, commit: str, folder: str) -> Source:
        """Check the files of a commit out into a new work tree, and prove that they are the commit's."""
        self.git("worktree", "prune")
        self.git("worktree", "add", "--force", "--detach", folder, commit, network=True)
        tree = self.ask("rev-parse", "--verify", f"{commit}^{{tree}}")
        if not tree or not COMMIT.match(tree):
            raise BuildError(f"commit {commit} has no tree")
        found = tree_id(folder, self._submodules(commit))
        if found != tree:
            raise BuildError(
                f"what was checked out is not commit {commit}: its files are tree {found}, not {tree}; "
                f"hint: remove {self.folder} on the host and try again"
            )
        return Source(commit, tree, folder)

    def _submodules(self, commit: str) -> dict[str, str]:
        """Return {path: commit} of submodules, which are not checked out."""
        rows = (line.partition("\t") for line in self.git("ls-tree", "-r", "--full-tree", commit))
        return {path: row.split()[2] for row, _, path in rows if row.startswith("160000 commit ")}


def tree_id(folder: str, submodules: dict[str, str], prefix: str = "") -> str:
    """Return git's id of a tree, from the files themselves; git has no part in it."""
    rows: list[tuple[bytes, bytes]] = []
    for entry in os.scandir(folder):
        path, name, is_folder = prefix + entry.name, os.fsencode(entry.name), False
        if path == ".git":
            continue
        mode = entry.stat(follow_symlinks=False).st_mode
        if path in submodules:
            row = b"160000 %s\0" % name + bytes.fromhex(submodules[path])
        elif stat.S_ISDIR(mode):
            is_folder = True
            row = b"40000 %s\0" % name + bytes.fromhex(tree_id(entry.path, submodules, path + "/"))
        elif stat.S_ISLNK(mode):
            row = b"120000 %s\0" % name + _object_id(b"blob", os.fsencode(os.readlink(entry.path)))
        elif stat.S_ISREG(mode):
            with open(entry.path, "rb") as file:
                content = file.read()
            kind = b"100755" if mode & stat.S_IXUSR else b"100644"
            row = b"%s %s\0" % (kind, name) + _object_id(b"blob", content)
        else:
            raise BuildError(f"{path} of the source is not a file")
        rows.append((name + b"/" if is_folder else name, row))
    return _object_id(b"tree", b"".join(row for _name, row in sorted(rows))).hex()


def _object_id(kind: bytes, content: bytes) -> bytes:
    return hashlib.sha1(b"%s %d\0" % (kind, len(content)) + content, usedforsecurity=False).digest()


def refuse_known_defects(ref: str, number: int | None, refused: list[dict[str, Any]], today: date) -> None:
    """Refuse a build within a range that is known to be bad, unless it is accepted until today or later."""
    if number is None:
        return
    for one in refused:
        is_old, is_mended = number < (one["first_bad"] or 0), number >= (one["first_good"] or number + 1)
        is_accepted = (one["accepted_until"] or "") >= today.isoformat()
        if not (is_old or is_mended or is_accepted):
            raise BuildError(f"{ref} is build b{number}: {one['text']}")


def refuse_moved_tag(repository: str, ref: str, commit: str) -> None:
    """Refuse a tag that named another commit of the same repository when it was built here before."""
    for path in sorted(glob(os.path.join(BUILDS, "*", "manifest.json"))):
        try:
            with open(path, encoding="utf-8") as file:
                known = json.load(file)
        except (OSError, ValueError):
            continue
        if (
            known.get("repository") == repository
            and known.get("ref") == ref
            and known.get("commit") != commit
        ):
            raise BuildError(
                f"tag {ref} has moved: it named {known.get('commit')} for {os.path.dirname(path)}, "
                f"now it names {commit}; hint: find out why, then pin the 40-digit commit that you trust"
            )
