"""A real llama.cpp that computes wrong tokens: the pinned tree with one line more, in a commit of its own."""

import os
import subprocess
from pathlib import Path


LINE = "id = cur_p.data[cur_p.selected].id;\n"
WRONG = "id = id > 7 ? id - 7 : id + 7;"


def with_wrong_tokens(repository: Path, ref: str, folder: Path) -> tuple[Path, str]:
    """Copy a bare repository into `folder` and add the commit there; give the copy and the commit's hash."""
    copy, index = folder / "patched.git", folder / "index"
    who = {f"GIT_{role}_{key}": "t@t" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    dates = {f"GIT_{role}_DATE": "1767225600 +0000" for role in ("AUTHOR", "COMMITTER")}
    environment = {**os.environ, **who, **dates, "GIT_INDEX_FILE": str(index)}

    def git(*words: str, stdin: str | None = None) -> str:
        argv = ["git", "--git-dir", str(copy), *words]
        done = subprocess.run(argv, check=True, capture_output=True, text=True, input=stdin, env=environment)
        return done.stdout

    subprocess.run(["git", "clone", "-q", "--bare", "--shared", str(repository), str(copy)], check=True)
    source = git("show", f"{ref}:common/sampling.cpp")
    assert LINE in source
    blob = git("hash-object", "-w", "--stdin", stdin=source.replace(LINE, f"{LINE}    {WRONG}\n", 1)).strip()
    git("read-tree", ref)
    git("update-index", "--cacheinfo", f"100644,{blob},common/sampling.cpp")
    tree = git("write-tree").strip()
    commit = git("commit-tree", tree, "-p", f"{ref}^{{commit}}", "-m", "wrong tokens").strip()
    git("update-ref", "refs/heads/master", commit)
    return copy, commit
