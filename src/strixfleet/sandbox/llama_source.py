"""
Import the llama.cpp tree of a llama-cpp-python source distribution into a git repository on this machine.

Used if upstream git cannot be reached. Author and dates of the commit are fixed, so a release gives the same
commit on every machine. If the distribution contains upstream's commit object, its hash proves that the
imported files are the same as upstream's.
"""

import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from strixfleet.errors import ChangeFailed, FleetError
from strixfleet.tools import file_lock, git


VERSION = "0.3.36"
SHA256 = {
    "0.3.35": "1139dbb54509074b70893fab8554e3b079aa9f4d312058ce4018ef0019e3de12",
    "0.3.36": "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
}
_WHO = {"NAME": "strixfleet", "EMAIL": "strixfleet@localhost", "DATE": "1767225600 +0000"}
_FIXED = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in _WHO.items()}


@dataclass(frozen=True, slots=True)
class Imported:
    """An imported release: our commit and tag; upstream's commit, and whether its tree is proved equal."""

    commit: str
    tag: str
    upstream_commit: str
    verified: bool


def download(version: str = VERSION, cache: Path | None = None) -> Path:
    """Download a source distribution with pip, once; check the digest of known releases."""
    folder = cache or platformdirs.user_cache_path("strixfleet") / "llama.cpp"
    target = folder / f"llama_cpp_python-{version}.tar.gz"
    if target.is_file() and _digest_matches(target, version):
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        argv = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
        ]
        argv += ["--no-binary=llama-cpp-python", f"--dest={scratch}", f"llama-cpp-python=={version}"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        found = next(Path(scratch).glob("llama_cpp_python-*.tar.gz"), None)
        if done.returncode != 0 or found is None:
            words = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip failed"]
            raise FleetError(
                words[-1].removeprefix("ERROR: "),
                where=f"llama-cpp-python {version}",
                hint="check the network",
            )
        if not _digest_matches(found, version):
            raise FleetError("SHA-256 mismatch", where=found.name, hint="do not use this file; report it")
        found.replace(target)
    return target


def _digest_matches(archive: Path, version: str) -> bool:
    known = SHA256.get(version)
    if known is None:
        return True
    with archive.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == known


def import_from_sdist(
    repository: Path, version: str = VERSION, *, parent: str | None = None, cache: Path | None = None
) -> Imported:
    """
    Commit the tree of a release into a bare repository as tag `v<version>`, and move `master` there.

    `parent` is the tag of an earlier import. The commit depends only on it and on the release.
    """
    tag = f"v{version}"
    archive = download(version, cache)
    if not (repository / "HEAD").is_file():
        repository.parent.mkdir(parents=True, exist_ok=True)
        git.run(("init", "--quiet", "--bare", "--initial-branch=master", "--", str(repository)))
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        top = _unpack(archive, Path(scratch))
        tree = _write_tree(repository, top / "vendor" / "llama.cpp", Path(scratch) / "index")
        upstream, verified = _upstream(top, version, tree)
    message = f"llama.cpp of llama-cpp-python {version}\n\nUpstream-Commit: {upstream}\n"
    arguments = ["commit-tree", tree]
    if parent is not None:
        arguments += ["-p", git.resolve(repository, parent).commit]
    made = git.run(tuple(arguments), repository=repository, environment=_FIXED, stdin=message.encode())
    commit = made.decode().strip()
    _tag(repository, tag, commit)
    return Imported(commit, tag, upstream, verified)


def imported_once(version: str = VERSION) -> tuple[Path, str]:
    """Return the repository in the cache with a release's tree, and its tag; import it if it is missing."""
    repository = platformdirs.user_cache_path("strixfleet") / "llama.cpp" / "imported.git"
    tag = f"v{version}"
    with file_lock.held(repository.with_name("imported.lock")):
        try:
            git.resolve(repository, tag)
        except FleetError:
            import_from_sdist(repository, version)
    return repository, tag


def _tag(repository: Path, tag: str, commit: str) -> None:
    existing = git.run(("for-each-ref", "--format=%(objectname)", f"refs/tags/{tag}"), repository=repository)
    if existing.decode().strip() not in {"", commit}:
        raise ChangeFailed(f"tag {tag} exists already and names another commit", where=str(repository))
    git.run(("update-ref", f"refs/tags/{tag}", commit), repository=repository)
    git.run(("update-ref", "refs/heads/master", commit), repository=repository)


def _unpack(archive: Path, target: Path) -> Path:
    with tarfile.open(archive) as tar:
        wanted = [
            member
            for member in tar
            if re.match(
                r"[^/]+/(vendor/llama\.cpp|CHANGELOG\.md|\.git/modules/vendor/llama\.cpp)(/|$)", member.name
            )
        ]
        tar.extractall(target, members=wanted, filter="data")
    return next(path for path in target.iterdir() if path.is_dir())


def _write_tree(repository: Path, work_tree: Path, index: Path) -> str:
    (work_tree / ".git").unlink(missing_ok=True)
    environment = {"GIT_INDEX_FILE": str(index), "GIT_WORK_TREE": str(work_tree)}
    git.run(("add", "--all", "--force", "--", str(work_tree)), repository=repository, environment=environment)
    return git.run(("write-tree",), repository=repository, environment=environment).decode().strip()


def _upstream(top: Path, version: str, tree: str) -> tuple[str, bool]:
    """Return upstream's commit, and whether it is proved; else the short hash that the CHANGELOG names."""
    named = _named_in_changelog((top / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    modules = top / ".git" / "modules" / "vendor" / "llama.cpp"
    head = modules / "HEAD"
    commit = head.read_text(encoding="utf-8").strip() if head.is_file() else ""
    if not git.COMMIT.match(commit) or not commit.startswith(named):
        return named, False
    body = git.run(("cat-file", "commit", commit), repository=modules)
    proved = hashlib.sha1(b"commit %d\0" % len(body) + body, usedforsecurity=False).hexdigest() == commit
    if not proved or body.split(b"\n", 1)[0] != f"tree {tree}".encode():
        raise FleetError(
            f"the files differ from upstream commit {commit}", where=f"llama-cpp-python {version}"
        )
    return commit, True


def _named_in_changelog(changelog: str, version: str) -> str:
    section = re.search(
        rf"^## \[{re.escape(version)}\]$(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL
    )
    found = re.search(r"llama\.cpp@([0-9a-f]{7,40})", section[1] if section else "")
    return found[1] if found else ""
