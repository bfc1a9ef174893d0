"""The state and cache folders of sandboxes, under the XDG folders, and the record of each sandbox."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from platformdirs import user_cache_path, user_state_path

from strixfleet.on_host import files
from strixfleet.sandbox.boxes import Sandbox, SandboxHost
from strixfleet.tools import file_lock


def state_dir() -> Path:
    """Return the folder with one folder per sandbox."""
    return user_state_path("strixfleet") / "sandboxes"


def cache_dir() -> Path:
    """Return the folder with base images, layers, packages and compiler cache; it may be deleted."""
    return user_cache_path("strixfleet") / "sandbox"


def names() -> list[str]:
    """List the sandboxes, incomplete ones too."""
    folder = state_dir()
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []


@contextmanager
def locked() -> Iterator[None]:
    """Let one process at a time change this machine's network and the list of sandboxes."""
    with file_lock.held(cache_dir() / ".lock"):
        yield


def write_record(sandbox: Sandbox) -> None:
    """Record a sandbox, atomically."""
    plain = asdict(sandbox) | {"folder": str(sandbox.folder)}
    plain["hosts"] = [asdict(host) | {"folder": str(host.folder)} for host in sandbox.hosts]
    write_atomically(sandbox.folder / "sandbox.json", json.dumps(plain, indent=1) + "\n")


def read_record(name: str) -> Sandbox | None:
    """Return a sandbox by name; None if it does not exist or is incomplete."""
    try:
        plain = json.loads((state_dir() / name / "sandbox.json").read_text(encoding="utf-8"))
        hosts = [
            SandboxHost(host["name"], host["address"], Path(host["folder"])) for host in plain.pop("hosts")
        ]
        return Sandbox(**plain | {"folder": Path(plain["folder"]), "hosts": tuple(hosts)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by rename, so that a reader sees either the old or the new text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(str(path), text.encode())
