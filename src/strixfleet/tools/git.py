"""
Run git, with options that keep a hostile repository or ref harmless.

A pin is a tag or a full commit. A commit is accepted only if a branch or tag reaches it, because hosting
sites serve the commits of every fork at the address of the original ("imposter commits").
"""

import hashlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from platformdirs import user_cache_path

from strixfleet.errors import ChangeFailed, FleetError, UsageError
from strixfleet.on_host import git_safety
from strixfleet.tools import file_lock


COMMIT = re.compile(r"[0-9a-f]{40}\Z")
TAG = re.compile(r"(b[0-9]{1,7}|v[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4})\Z")
FETCH_TIMEOUT_S = 3600
ASK_TIMEOUT_S = 10
PIN_REF = "refs/strixfleet/pin"
REACHING = ("refs/heads", "refs/tags", "refs/remotes")
_SSH = {"protocol.ssh.allow": "always"}  # the controller has the user's keys; hosts have none
_ENVIRONMENT = {**git_safety.ENVIRONMENT, "GIT_SSH_COMMAND": "ssh -oBatchMode=yes", "LC_ALL": "C"}
_INHERITED = ("PATH", "HOME", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR", "https_proxy", "http_proxy")


@dataclass(frozen=True, slots=True)
class Resolved:
    """The commit that a pin names, and its tree; `tag` is None if the pin is a commit."""

    commit: str
    tree: str
    tag: str | None


def run(
    arguments: tuple[str, ...],
    *,
    repository: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout_s: int = 120,
) -> bytes:
    """Run git and return its output; on failure raise a FleetError with the last line of git's error."""
    argv = git_safety.command(_SSH)
    if repository is not None:
        argv.append(f"--git-dir={repository}")
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    where = str(repository or "git")
    try:
        done = subprocess.run(
            [*argv, *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=timeout_s,
            env={**inherited, **_ENVIRONMENT, **(environment or {})},
        )
    except FileNotFoundError:
        raise FleetError("git is not installed", hint="apt install git") from None
    except subprocess.TimeoutExpired:
        raise ChangeFailed(f"git {arguments[0]} took longer than {timeout_s} s", where=where) from None
    if done.returncode != 0:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ChangeFailed(f"git {arguments[0]}: {words[-1] if words else done.returncode}", where=where)
    return done.stdout


def _try(repository: Path, *arguments: str) -> str | None:
    try:
        return run(arguments, repository=repository).decode().strip()
    except ChangeFailed:
        return None


def git_dir(path: Path) -> Path:
    """Find the repository at a path: bare, or the `.git` of a work tree."""
    for candidate in (path / ".git", path):
        if (candidate / "HEAD").is_file() and (candidate / "objects").is_dir():
            return candidate
    raise UsageError("is not a git repository", where=str(path), hint="give a clone, a mirror or a URL")


def resolve(repository: Path, ref: str) -> Resolved:
    """Return what a pin names; refuse branches, short hashes, and commits that no branch or tag reaches."""
    folder = git_dir(repository)
    if COMMIT.match(ref):
        return _resolve_commit(folder, ref)
    if not TAG.match(ref):
        raise UsageError(
            f"{ref!r} is not a valid pin",
            where=str(repository),
            hint="give bNNNN, vX.Y.Z or a 40-digit commit",
        )
    commit = _try(
        folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"refs/tags/{ref}^{{commit}}"
    )
    branch = _try(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"refs/heads/{ref}")
    if commit is not None and branch is not None:
        raise two_of_a_name(str(repository), ref, commit, branch)
    if commit is None:
        what = f"{ref} is a branch, not a tag" if branch else f"has no tag {ref}"
        raise UsageError(what, where=str(repository), hint="pin an existing tag or a 40-digit commit")
    return Resolved(commit, _tree(folder, commit), ref)


def _resolve_commit(folder: Path, ref: str) -> Resolved:
    for kind in ("heads", "tags"):
        if _try(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"refs/{kind}/{ref}"):
            raise UsageError(
                f"has a {'branch' if kind == 'heads' else 'tag'} with the name of a commit, {ref}",
                where=str(folder),
                hint="do not use this repository: the name hides another commit",
            )
    if _try(folder, "cat-file", "-t", "--end-of-options", ref) != "commit":
        raise UsageError(
            f"has no commit {ref}", where=str(folder), hint="check the pin, or update the repository"
        )
    if not _try(folder, "for-each-ref", "--count=1", f"--contains={ref}", *REACHING):
        raise UsageError(
            f"no branch or tag reaches {ref}: it may come from a fork",
            where=str(folder),
            hint="pin a commit of the project itself, or set llama_cpp_repository to the address of the fork",
        )
    return Resolved(ref, _tree(folder, ref), None)


def _tree(folder: Path, commit: str) -> str:
    text = run(("rev-parse", "--verify", "--end-of-options", f"{commit}^{{tree}}"), repository=folder)
    return text.decode().strip()


@dataclass(frozen=True, slots=True)
class Named:
    """The commits that a repository has under one name: as a tag, and as a branch."""

    tag: str | None
    branch: str | None


def named_at(address: str, name: str) -> Named:
    """Ask a repository, near or far, for the tag and for the branch of a name."""
    tag, branch = f"refs/tags/{name}", f"refs/heads/{name}"
    peeled = f"{tag}^{{}}"  # an annotated tag is shown peeled, too
    words = ("ls-remote", "--", address, tag, peeled, branch)
    text = run(words, timeout_s=ASK_TIMEOUT_S).decode("utf-8", "replace")
    rows = {ref: commit for commit, _, ref in (line.partition("\t") for line in text.splitlines())}
    return Named(rows.get(peeled) or rows.get(tag), rows.get(branch))


def tag_at(address: str, tag: str) -> str | None:
    """Ask a repository, near or far, which commit a tag names; None where it has no such tag."""
    return named_at(address, tag).tag


def two_of_a_name(repository: str, ref: str, tag: str, branch: str) -> UsageError:
    """Return the refusal of a name that is both a tag and a branch: which one is meant is a guess."""
    return UsageError(
        f"has both a tag and a branch {ref}, at {tag} and {branch}",
        where=repository,
        hint="pin the 40-digit commit that you mean",
    )


def commits_between(repository: Path, older: str, newer: str) -> tuple[tuple[str, str], ...]:
    """List (commit, subject) after `older` up to `newer`, along first parents, oldest first."""
    words = ("log", "--first-parent", "--reverse", "--format=%H %s", f"{older}..{newer}")
    rows = run(words, repository=git_dir(repository)).decode("utf-8", "replace").splitlines()
    pairs = (row.partition(" ") for row in rows)
    return tuple((commit, subject) for commit, _, subject in pairs)


def update_mirror(url: str, mirror: Path) -> None:
    """Update a bare mirror of a repository: all branches and tags, with every object checked."""
    if not (mirror / "HEAD").is_file():
        mirror.parent.mkdir(parents=True, exist_ok=True)
        run(("init", "--quiet", "--bare", "--", str(mirror)))
    refs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
    run(
        ("fetch", "--quiet", "--prune", "--no-auto-gc", "--no-recurse-submodules", "--", url, *refs),
        repository=mirror,
        timeout_s=FETCH_TIMEOUT_S,
    )


def cache_folder() -> Path:
    """Return the folder of mirrors and bundles."""
    return user_cache_path("strixfleet") / "llama.cpp"


def mirror_of(address: str) -> Path | None:
    """Return where the mirror of a repository is, whether it is there or not; None for a path."""
    if address.removeprefix("file://").startswith(("/", "./", "../", "~")):
        return None
    return cache_folder() / f"mirror-{hashlib.sha256(address.encode()).hexdigest()[:16]}.git"


def local_repository(address: str) -> Path:
    """
    Return a repository on this machine: a path as it is, for a URL a mirror that is brought up to date.

    Of several processes that ask at once one fetches.
    """
    mirror = mirror_of(address)
    if mirror is None:
        return _path_of(address)
    asked_at = time.time()
    with file_lock.held(mirror.with_suffix(".lock")):
        fetched = mirror.with_suffix(".fetched")
        if not fetched.is_file() or fetched.stat().st_mtime < asked_at:
            update_mirror(address, mirror)
            fetched.touch()
    return mirror


def _path_of(address: str) -> Path:
    return Path(address.removeprefix("file://")).expanduser().resolve()


def repository_here(address: str) -> Path | None:
    """Return the repository at a path, or the mirror of a URL as it is; None where there is none."""
    folder = mirror_of(address) or _path_of(address)
    try:
        return git_dir(folder)
    except UsageError:
        return None


def build_number(repository: Path, ref: str) -> int | None:
    """Return llama.cpp's number of a commit or tag, counted from the nearest tag bNNNN; None without one."""
    described = _try(repository, "describe", "--tags", "--long", "--match=b[0-9]*", "--end-of-options", ref)
    found = re.fullmatch(r"b(\d{1,7})-(\d{1,7})-g[0-9a-f]+", described or "")
    return int(found[1]) + int(found[2]) if found else None


def ancestors_of(repository: Path, commit: str, others: Sequence[str]) -> tuple[str, ...]:
    """Return those of other commits that lead to a commit, without itself."""
    folder = git_dir(repository)
    known = sorted(one for one in {*others} - {commit} if COMMIT.match(one))
    return tuple(one for one in known if _try(folder, "merge-base", "--is-ancestor", one, commit) is not None)


def bundle(repository: Path, ref: str, target: Path, known: Sequence[str] = ()) -> Resolved:
    """
    Write a pin with its history into a bundle for `git fetch`; the repository itself is not changed.

    What leads to the commits `known` is left out.

    In the bundle the commit is `refs/strixfleet/pin`, a name that no branch on the host can have.
    """
    found = resolve(repository, ref)
    objects = {"GIT_ALTERNATE_OBJECT_DIRECTORIES": str((git_dir(repository) / "objects").resolve())}
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        borrower, partial = Path(scratch) / "borrower.git", Path(scratch) / "bundle"
        run(("init", "--quiet", "--bare", "--", str(borrower)))
        run(("update-ref", PIN_REF, found.commit), repository=borrower, environment=objects)
        create = ("bundle", "create", "--quiet", str(partial), PIN_REF, *(f"^{one}" for one in known))
        run(create, repository=borrower, environment=objects, timeout_s=600)
        partial.replace(target)
    return found


def upstream_answers(url: str) -> bool:
    """Tell whether a remote repository can be read from here within a few seconds."""
    try:
        run(("ls-remote", "--quiet", "--exit-code", "--", url, "HEAD"), timeout_s=15)
    except FleetError:
        return False
    return True


@lru_cache(maxsize=64)
def revision_of(folder: str) -> str | None:
    """Return the git commit of an inventory, with `-dirty` if files differ; None outside git."""
    describe = ("describe", "--always", "--dirty", "--exclude=*")
    argv = ["git", "-c", "core.fsmonitor=false", "-C", folder, *describe]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
