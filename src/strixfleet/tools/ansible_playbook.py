"""Run a playbook with ansible-playbook, follow its events, and return the outcome of each host."""

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import platformdirs

from strixfleet import __version__, assets
from strixfleet.errors import ChangeFailed
from strixfleet.inventory.ansible.host_key_options import checked_by
from strixfleet.inventory.ansible.vaults import VAULT_PROMPT, typed_password
from strixfleet.on_host.plain_text import plain
from strixfleet.tools import lock_owner
from strixfleet.tools.play_settings import settings_of


EVENT = "strixfleet-event: "
# The kernel stops the play even where nobody is left to do it, after SIGKILL: setpriv(1), prctl(2).
_ENDS_WITH_US = ("setpriv", "--pdeathsig", "TERM", "--") if shutil.which("setpriv") else ()


class PlayStatus(StrEnum):
    """The outcome of a play on one host."""

    OK = "ok"
    CHANGED = "changed"
    FAILED = "failed"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class PlayRequest:
    """
    One run of a playbook.

    `variables` hold no secrets: they go through a 0600 file. Passwords go through memory, and so do `states`,
    the compiled states of hosts that the play need not probe again; they are read as data, never templated.
    """

    playbook: str
    sources: tuple[str, ...]
    limit: str
    known_hosts: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    states: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    extra_vars: tuple[str, ...] = ()
    check: bool = False
    diff: bool = False
    forks: int = 32
    verbose: int = 0
    become_password: str | None = None
    vault_password_files: tuple[str, ...] = ()
    ask_vault_pass: bool = False


@dataclass(frozen=True, slots=True)
class HostOutcome:
    """One host after a play."""

    status: PlayStatus
    changed_tasks: tuple[str, ...] = ()
    failed_task: str = ""
    message: str = ""


Listener = Callable[[dict[str, Any]], None]


def collections_path() -> Path:
    """Return a folder where this package is linked as the Ansible collection strixfleet.fleet."""
    target = assets.root()
    mark = hashlib.sha256(str(target).encode()).hexdigest()[:8]  # each checkout has a separate link
    base = platformdirs.user_cache_path("strixfleet") / f"collections-{__version__}-{mark}"
    link = base / "ansible_collections" / "strixfleet" / "fleet"
    if not link.is_symlink() or link.readlink() != target:
        link.parent.mkdir(parents=True, exist_ok=True)
        spare = link.with_name(f".fleet-{os.getpid()}")
        spare.unlink(missing_ok=True)
        spare.symlink_to(target)
        spare.replace(link)
    return base


def ssh_arguments(request: PlayRequest, temporary: Path) -> tuple[str, ...]:
    """Return the arguments that stand before those of the inventory."""
    kept = ("ControlMaster=auto", "ControlPersist=30s", f"ControlPath={temporary}/%C")
    alive = ("ServerAliveInterval=15", "ServerAliveCountMax=2")
    return (*checked_by(request.known_hosts), *(word for one in (*kept, *alive) for word in ("-o", one)))


def environment_for(request: PlayRequest, temporary: Path) -> dict[str, str]:
    """Return the environment of ansible-playbook: the operator's, with our settings of Ansible."""
    given = os.environ.get("ANSIBLE_COLLECTIONS_PATH")
    paths = [str(collections_path()), *([given] if given else [])]
    return {
        **settings_of(os.environ),
        lock_owner.VARIABLE: lock_owner.owner(),
        "ANSIBLE_COLLECTIONS_PATH": ":".join(paths),
        "ANSIBLE_SSH_ARGS": shlex.join(ssh_arguments(request, temporary)),
        "ANSIBLE_LOCAL_TEMP": str(temporary),
        "LC_ALL": "C.UTF-8",  # ansible-playbook refuses to run with other encodings
        "PYTHONUNBUFFERED": "1",
    }


class InMemory:
    """Texts that ansible-playbook reads from memory: whatever ends us, no file with a password is left."""

    def __init__(self) -> None:
        self.descriptors: list[int] = []

    def file(self, text: str) -> str:
        """Return the path of a text, as this process and those that it starts see it."""
        descriptor = os.memfd_create("strixfleet")
        self.descriptors.append(descriptor)
        os.fchmod(descriptor, 0o600)  # Ansible runs a password file that may be executed
        with os.fdopen(descriptor, "w", encoding="utf-8", closefd=False) as file:
            file.write(text)
        return f"/dev/fd/{descriptor}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_problem: object) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)


def _argv(request: PlayRequest, temporary: Path, memory: InMemory) -> list[str]:
    program = Path(sys.executable).with_name("ansible-playbook")
    found = str(program) if program.exists() else shutil.which("ansible-playbook")
    if found is None:
        raise ChangeFailed("ansible-playbook was not found", hint="install strixfleet again with pip")
    given = dict(request.variables)
    if request.states:
        given["strixfleet_states"] = memory.file(json.dumps(request.states))
    if request.become_password is not None:
        path = memory.file(request.become_password)
        given["ansible_become_password"] = f"{{{{ lookup('ansible.builtin.file', '{path}', rstrip=false) }}}}"
    variables = temporary / "variables.json"
    variables.touch(mode=0o600)
    variables.write_text(json.dumps(given), encoding="utf-8")
    # --vault-password-file would resolve the link that a path of memory is.
    typed = [f"default@{memory.file(typed_password(VAULT_PROMPT))}"] if request.ask_vault_pass else []
    return [
        *_ENDS_WITH_US,
        *(found, str(assets.path("playbooks", request.playbook))),
        *(part for source in request.sources for part in ("-i", source)),
        *("--limit", request.limit, "--forks", str(request.forks)),
        *(part for text in request.extra_vars for part in ("-e", text)),
        *("-e", f"@{variables}"),
        *(["--check"] if request.check else []),
        *(["--diff"] if request.diff else []),
        *([f"-{'v' * request.verbose}"] if request.verbose else []),
        *(part for file in request.vault_password_files for part in ("--vault-password-file", file)),
        *(part for one in typed for part in ("--vault-id", one)),
    ]


def play(request: PlayRequest, listen: Listener) -> dict[str, HostOutcome]:
    """
    Run a playbook, pass every event to `listen` as it happens, and return the outcome of each host.

    Events: {"event": "play"|"task"|"ok"|"failed"|"unreachable"|"diff"|"stats"|"line", …}.
    """
    with tempfile.TemporaryDirectory(prefix="strixfleet-") as folder, InMemory() as memory:
        temporary = Path(folder)
        argv = _argv(request, temporary, memory)
        process = subprocess.Popen(
            argv,
            pass_fds=memory.descriptors,
            env=environment_for(request, temporary),
            stdin=subprocess.DEVNULL if sys.stdin is None or not sys.stdin.isatty() else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=False,
        )
        outcomes: dict[str, HostOutcome] = {}
        tail: list[str] = []
        with process, _stopped_with_us(process):
            for event in _events(process):
                if event["event"] == "line":
                    tail = [*tail[-20:], event["text"]]
                outcomes = _after(outcomes, event)
                listen(event)
            code = process.wait()
    if code != 0 and not any(
        one.status in {PlayStatus.FAILED, PlayStatus.UNREACHABLE} for one in outcomes.values()
    ):
        raise ChangeFailed("ansible-playbook ended with an error:\n" + "\n".join(tail[-8:]))
    return outcomes


@contextlib.contextmanager
def _stopped_with_us(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Stop the play when the operator interrupts strixfleet; it passes SIGTERM on to all that it started."""
    try:
        yield
    except BaseException:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
        raise


def _events(process: "subprocess.Popen[str]") -> Iterator[dict[str, Any]]:
    for line in process.stdout or ():
        text = line.rstrip("\n")
        if text.startswith(EVENT):
            yield json.loads(text.removeprefix(EVENT))
        elif text.strip():
            yield {"event": "line", "text": text}


def _after(outcomes: dict[str, HostOutcome], event: dict[str, Any]) -> dict[str, HostOutcome]:
    """Return the outcomes, updated by one event."""
    host = event.get("host")
    if not isinstance(host, str):
        return outcomes
    old = outcomes.get(host, HostOutcome(PlayStatus.OK))
    if event["event"] == "ok" and event["changed"] and old.status in {PlayStatus.OK, PlayStatus.CHANGED}:
        return {
            **outcomes,
            host: HostOutcome(PlayStatus.CHANGED, (*old.changed_tasks, event["task"])),
        }
    if event["event"] in {"failed", "unreachable"}:
        message = event["message"]
        if event["detail"] and event["detail"] not in message:
            message = f"{message}\n{event['detail']}".strip()
        message = plain(message)
        status = PlayStatus.FAILED if event["event"] == "failed" else PlayStatus.UNREACHABLE
        return {**outcomes, host: HostOutcome(status, old.changed_tasks, event["task"], message)}
    return {**outcomes, host: old}
