"""One llama-server instance: its unit files, its digest, and how it is held against the host's answers."""

import hashlib
import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from strixfleet.findings.items import Cost
from strixfleet.managed.llama_cpp.build import parse_manifest
from strixfleet.managed.things.file import ManagedFile
from strixfleet.on_host.questions import Answers, Ask, Json, Question
from strixfleet.on_host.switch.option_aliases import OPTIONS


UNITS = "/etc/systemd/system"
KEYS = "/etc/strixfleet/keys"
CURRENT = "/opt/strixfleet/llama.cpp/current"
MANIFEST = f"{CURRENT}/manifest.json"
OPTIONS_FILE = f"{CURRENT}/{OPTIONS}"
DROP_IN = "10-strixfleet.conf"
HIDDEN = ("/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/")  # noqa: S108 - what the unit does not see
KEY_ROUNDS = 100_000


def unit_name(instance: str) -> str:
    """Return the unit of an instance."""
    return f"llama-server@{instance}.service"


def drop_in_path(instance: str) -> str:
    """Return the path of our drop-in."""
    return f"{UNITS}/{unit_name(instance)}.d/{DROP_IN}"


@cache
def key_fingerprint(instance: str, key: str) -> str:
    """Return what tells one key from another and no more: everybody can read the digest that it goes into."""
    return hashlib.pbkdf2_hmac("sha256", key.encode(), f"strixfleet:{instance}".encode(), KEY_ROUNDS).hex()


def config_digest(*parts: Json) -> str:
    """Digest all that a server was started with."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def key_file(instance: str, key: str) -> ManagedFile:
    """Return the file with the API key; systemd hands it to the unit, no other account reads it."""
    return ManagedFile(f"{KEYS}/{instance}", f"{key}\n", mode="0600", secret=True, cost=Cost.RESTART)


def http_questions(instance: str, url: str, *, has_key: bool) -> tuple[Question, Question]:
    """Ask whether an instance is healthy, and which build answers."""
    key = f" key={KEYS}/{instance}" if has_key else ""
    return Question(Ask.HTTP, f"{url}/health"), Question(Ask.HTTP, f"{url}/props{key}")


@dataclass(frozen=True, slots=True)
class Unit:
    """What one instance must be; `renamed` if it uses options that releases spell differently."""

    instance: str
    drop_in: ManagedFile
    key: ManagedFile | None
    config: str
    url: str
    listeners: tuple[str, ...]
    models: tuple[str, ...]
    probe: str
    renamed: bool = False

    @property
    def name(self) -> str:
        """Return the unit's name."""
        return unit_name(self.instance)

    def want(self) -> dict[str, Json]:
        """Say what must be true of the running server."""
        return {
            "enabled": "enabled",
            "active": "active",
            "config": self.config,
            "build": "current",
            "health": 200,
            "listening": list(self.listeners),
        }

    @property
    def http_questions(self) -> tuple[Question, Question]:
        """Ask for health and build."""
        return http_questions(self.instance, self.url, has_key=self.key is not None)

    def have(self, unit: Mapping[str, Json], health: Json, props: Json, answers: Answers) -> dict[str, Json]:
        """Say what is true, in the shape of `want`."""
        found = listeners(answers.text(Ask.RUN, "listeners") or "")
        return {
            "enabled": unit.get("UnitFileState"),
            "active": unit.get("ActiveState"),
            "config": unit.get("config"),
            "build": build_of(unit, props, answers),
            "health": health.get("status") if isinstance(health, dict) else None,
            "listening": [one for one in self.listeners if one in found],
        }

    def role_var(self) -> dict[str, Json]:
        """Return what the module `llama_instance` takes."""
        return {
            "name": self.instance,
            "config": self.config,
            "url": self.url,
            "key_file": self.key.path if self.key else "",
            "models": list(self.models),
            "probe": self.probe,
            "renamed": self.renamed,
        }


def build_of(unit: Mapping[str, Json], props: Json, answers: Answers) -> str:
    """Return `current` when the process runs the current build and says so itself, else what it runs."""
    exe = str(unit.get("exe") or "nothing")
    target = answers[Question(Ask.LINK, CURRENT)].value
    if not isinstance(target, str):
        return f"{exe}, and there is no current build"
    current = posixpath.normpath(posixpath.join(posixpath.dirname(CURRENT), target))
    if exe != f"{current}/bin/llama-server":
        return exe
    body = props.get("body") if isinstance(props, dict) else None
    said = body.get("build_info") if isinstance(body, dict) else None
    if isinstance(said, str) and not _same_commit(said, answers):
        return f"{exe}, which calls itself {said}"
    return "current"


def backend_in_use(answers: Answers, wished: str) -> str:
    """Return current build's backend, which `provision` keeps; the wished one where no build is current."""
    manifest = parse_manifest(answers.text(Ask.READ, MANIFEST))
    return manifest.backend if manifest else wished


def _same_commit(build_info: str, answers: Answers) -> bool:
    """Hold `b<number>-<short commit>` against the build's manifest; without one there is nothing to hold."""
    try:
        manifest = json.loads(answers.text(Ask.READ, MANIFEST) or "")
    except ValueError:
        return True
    commit = manifest.get("commit") if isinstance(manifest, dict) else None
    short = build_info.rpartition("-")[2]
    return not isinstance(commit, str) or not short or commit.startswith(short)


def listeners(text: str) -> dict[str, str]:
    """Read `ss -Hltnp`: {address: program} of what llama.cpp's programs listen on."""
    found = {}
    for line in text.splitlines():
        fields = line.split()
        program = re.search(r'users:\(\("(llama-server|rpc-server)"', line)
        if program and len(fields) > 3:  # noqa: PLR2004 - state, two queues, address
            found[fields[3]] = program[1]
    return found


def overrides(unit: Mapping[str, Json], instance: str) -> list[Json]:
    """List unit files that change an instance and are not ours."""
    ours = {drop_in_path(instance), f"{UNITS}/llama-server@.service"}
    paths = str(unit.get("DropInPaths") or "").split()
    fragment = str(unit.get("FragmentPath") or "")
    found = {path for path in (*paths, fragment) if "/llama-server@" in path and path not in ours}
    return [*sorted(found)]
