"""Bring the pinned commit of llama.cpp onto the host and prove that it is the one that was meant."""

from __future__ import annotations

import json
import os
import re
from glob import glob
from typing import NamedTuple

from ansible_collections.strixfleet.fleet.plugins.module_utils.build_process import BuildError, Workshop
from ansible_collections.strixfleet.fleet.plugins.module_utils.on_host import git_safety


BUILDS = "/opt/strixfleet/llama.cpp"
COMMIT = re.compile(r"[0-9a-f]{40}\Z")


class Source(NamedTuple):
    """A checked-out pin."""

    commit: str
    tree: str
    folder: str


class Repository:
    """The host's bare copy of llama.cpp, owned by the unprivileged user."""

    def __init__(self, workshop: Workshop, folder: str) -> None:
        self.workshop = workshop
        self.folder = folder

    def git(self, *arguments: str, network: bool = False) -> list[str]:
        """Run git in the repository under options that make hostile content inert."""
        argv = [*git_safety.command(), f"--git-dir={self.folder}", *arguments]
        environment = git_safety.ENVIRONMENT
        return self.workshop.run(argv, cwd=self.workshop.folder, network=network, environment=environment)

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

    def check_out(self, commit: str, folder: str) -> Source:
        """Check the files of a commit out into a new work tree."""
        self.git("worktree", "prune")
        self.git("worktree", "add", "--force", "--detach", folder, commit, network=True)
        tree = self.ask("rev-parse", "--verify", f"{commit}^{{tree}}")
        if not tree or not COMMIT.match(tree):
            raise BuildError(f"commit {commit} has no tree")
        return Source(commit, tree, folder)


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
