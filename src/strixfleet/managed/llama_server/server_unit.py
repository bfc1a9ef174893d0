"""One llama-server instance: its unit files, its digest, and how it is held against the host's answers."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

from strixfleet.findings.items import Cost, Cure, Difference, Status
from strixfleet.managed.llama_cpp.build import BUILDS, CURRENT, MANIFEST, current_build, parse_manifest
from strixfleet.managed.llama_server import loading
from strixfleet.managed.llama_server.loading import Loading
from strixfleet.managed.things.file import File, SecretFile
from strixfleet.managed.things.thing import Deed, Have, Thing, unread
from strixfleet.managed.things.unit import foreign_files
from strixfleet.on_host.questions import Answers, Ask, Json, Question
from strixfleet.on_host.switch.option_aliases import OPTIONS


UNITS = "/etc/systemd/system"
KEYS = "/etc/strixfleet/keys"
OPTIONS_FILE = f"{BUILDS}/current/{OPTIONS}"
LISTENERS = Question(Ask.RUN, "listeners")
COPIES = Question(Ask.COPIES, f"{BUILDS}/*/bin/*-server")
UNCHANGED = "as when it was started"
NO_COPIES: Mapping[str, Json] = {}
DROP_IN = "10-strixfleet.conf"
HIDDEN = ("/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/")  # noqa: S108 - what the unit does not see
KEY_ROUNDS = 100_000


def unit_name(instance: str) -> str:
    """Return the unit of an instance."""
    return f"llama-server@{instance}.service"


def drop_in_path(instance: str) -> str:
    """Return the path of our drop-in."""
    return f"{UNITS}/{unit_name(instance)}.d/{DROP_IN}"


def account(instance: str) -> str:
    """
    Name the account of an instance, which systemd makes while it runs.

    Not `strixfleet-…`: a dynamic user whose name an account of the host has would be that account.
    """
    name = f"llama-{instance}"
    if re.fullmatch(r"[a-z0-9_-]{1,31}", name):
        return name
    return f"llama-{hashlib.sha256(instance.encode()).hexdigest()[:16]}"


@cache
def key_fingerprint(instance: str, key: str) -> str:
    """Return what tells one key from another and no more: everybody can read the digest that it goes into."""
    return hashlib.pbkdf2_hmac("sha256", key.encode(), f"strixfleet:{instance}".encode(), KEY_ROUNDS).hex()


def config_digest(*parts: Json) -> str:
    """Digest all that a server was started with."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def key_file(instance: str, key: str) -> SecretFile:
    """Return the file with the API key; systemd hands it to the unit, no other account reads it."""
    path = f"{KEYS}/{instance}"
    return SecretFile(id=f"llama_server:{path}", path=path, source=f"{key}\n", cost=Cost.RESTART)


def http_questions(instance: str, url: str, *, has_key: bool) -> tuple[Question, Question]:
    """Ask whether an instance is healthy, and which build answers."""
    key = f" key={KEYS}/{instance}" if has_key else ""
    return Question(Ask.HTTP, f"{url}/health"), Question(Ask.HTTP, f"{url}/props{key}")


@dataclass(frozen=True, kw_only=True)
class Server(Thing):
    """
    One running instance.

    `renamed` if it uses options that releases spell differently; `waits_for_tailnet` if it is to serve on the
    tailnet and the host has no address there yet.
    """

    instance: str
    drop_in: File
    key: SecretFile | None
    config: str
    url: str
    listeners: tuple[str, ...]
    models: tuple[str, ...]
    probe: str
    renamed: bool = False
    waits_for_tailnet: bool = False
    cost: Cost = Cost.RESTART

    @property
    def name(self) -> str:
        """Return the unit's name."""
        return unit_name(self.instance)

    @property
    def want(self) -> Json:
        return {
            "enabled": "enabled",
            "active": "active",
            "config": self.config,
            "unit_files": UNCHANGED,
            "build": "current",
            "health": 200,
            "listening": [*self.listeners, *(["the tailnet"] if self.waits_for_tailnet else [])],
        }

    @property
    def unit_question(self) -> Question:
        """Ask systemd about the unit."""
        return Question(Ask.UNIT, self.name)

    @property
    def http_questions(self) -> tuple[Question, Question]:
        """Ask for health and build."""
        return http_questions(self.instance, self.url, has_key=self.key is not None)

    def asks(self) -> Iterator[Question]:
        yield self.unit_question
        yield from self.http_questions
        yield from (LISTENERS, CURRENT, MANIFEST)
        yield from loading.questions(self.models)

    def loading(self, answers: Answers) -> Loading | None:
        """Return since when it loads, where it does."""
        unit = answers[self.unit_question].value
        health = answers[self.http_questions[0]].value
        if not isinstance(unit, dict):
            return None
        return loading.loading_of(unit, health, self.models, answers)

    def read(self, answers: Answers) -> Have:
        if error := unread(answers, self.asks()):
            return Have(error=error)
        health, props = (answers[question] for question in self.http_questions)
        unit = answers[self.unit_question].value
        if not isinstance(unit, dict):
            return Have(error="systemd does not describe this unit")
        found = listeners(answers.text(LISTENERS.verb, LISTENERS.subject) or "")
        loads = self.loading(answers)
        status = health.value.get("status") if isinstance(health.value, dict) else None
        have: dict[str, Json] = {
            "enabled": unit.get("UnitFileState"),
            "active": unit.get("ActiveState"),
            "config": unit.get("config"),
            "unit_files": unit_files(unit),
            "build": build_of(unit, props.value, answers),
            "health": "loading" if loads and loads.in_time else status,
            "listening": [one for one in self.listeners if one in found],
        }
        if holder := self._holder(unit, answers):
            return Have(have, message=f"{holder} has its port: stop that, then `provision`", cure=Cure.MANUAL)
        waits = "the host has no tailnet address yet" if self.waits_for_tailnet else ""
        return Have(have, message=loads.words if loads and not waits else waits)

    def _holder(self, unit: Mapping[str, Json], answers: Answers) -> str:
        """Name the process that listens where this server should, and is not its own."""
        own = f"pid={unit.get('MainPID')},"
        for line in (answers.text(LISTENERS.verb, LISTENERS.subject) or "").splitlines():
            who = re.search(r'\("([^"]*)",pid=(\d+),', line)
            if who and own not in line and set(self.listeners) & set(line.split()):
                return f"{who[1]} ({who[2]})"
        return ""

    def key_holds(self, key: str, have: Mapping[str, Json]) -> bool:
        """Accept a server that loads within its time; before it listens it has no address either."""
        if have.get("health") == "loading" and key in {"health", "listening"} and not self.waits_for_tailnet:
            return True
        return super().key_holds(key, have)

    def compare(self, answers: Answers) -> Difference:
        """Say of a server that loads since when."""
        row, loads = super().compare(answers), self.loading(answers)
        return replace(row, message=loads.words) if loads and row.status is Status.OK else row

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        yield Deed(
            "server",
            {
                "name": self.instance,
                "config": self.config,
                "url": self.url,
                "key_file": self.key.path if self.key else "",
                "models": [*self.models],
                "probe": self.probe,
                "renamed": self.renamed,
            },
        )


def build_of(unit: Mapping[str, Json], props: Json, answers: Answers) -> str:
    """Return `current` when the process runs the current build and says so itself, else what it runs."""
    exe = str(unit.get("exe") or "nothing")
    current = current_build(answers)
    if current is None:
        return f"{exe}, and there is no current build"
    if exe != f"{BUILDS}/{current}/bin/llama-server":
        return exe
    body = props.get("body") if isinstance(props, dict) else None
    said = body.get("build_info") if isinstance(body, dict) else None
    if isinstance(said, str) and not _same_commit(said, answers):
        return f"{exe}, which calls itself {said}"
    return "current"


def _same_commit(build_info: str, answers: Answers) -> bool:
    """Hold `b<number>-<short commit>` against the build's manifest; without one there is nothing to hold."""
    manifest = parse_manifest(answers.text(MANIFEST.verb, MANIFEST.subject))
    short = build_info.rpartition("-")[2]
    return manifest is None or manifest.commit.startswith(short)


def unit_files(unit: Mapping[str, Json]) -> str:
    """Say whether the process was started from the unit's files as they are, and systemd has read them."""
    if newer := unit.get("newer"):
        return f"changed since it was started: {newer}"
    return UNCHANGED if unit.get("NeedDaemonReload") in ("no", None) else "not read by systemd yet"


def listeners(text: str, copies: Mapping[str, Json] = NO_COPIES) -> dict[str, str]:
    """Read `ss -Hltnp`: {address: program} of what llama.cpp's programs, and copies of them, listen on."""
    found = {}
    for line in text.splitlines():
        fields = line.split()
        program = re.search(r'users:\(\("(llama-server|rpc-server)"', line)
        copy = next((str(copies[pid]) for pid in re.findall(r"pid=(\d+)", line) if pid in copies), None)
        name = program[1] if program else copy
        if name and len(fields) > 3:  # noqa: PLR2004 - state, two queues, address
            found[fields[3]] = name
    return found


def overrides(unit: Mapping[str, Json], instance: str) -> list[Json]:
    """List unit files that change an instance and are not ours; a mask of it is the server's own row."""
    if unit.get("LoadState") == "masked":
        return []
    return foreign_files(unit, {drop_in_path(instance), f"{UNITS}/llama-server@.service"})
