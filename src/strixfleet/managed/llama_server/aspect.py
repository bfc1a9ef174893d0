"""Servers: one hardened unit per instance, running the current build as it was compiled to be."""

from collections.abc import Iterator

from strixfleet.findings.items import Cure
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.llama_server import server_unit
from strixfleet.managed.llama_server.server_files import server_of, serving_backend, template_file
from strixfleet.managed.llama_server.server_unit import COPIES, KEYS, LISTENERS, UNITS, Server
from strixfleet.managed.machine import Machine
from strixfleet.managed.things.file import Folder
from strixfleet.managed.things.thing import Check, Deed, Have, Thing
from strixfleet.on_host.questions import Answers, Ask, Question
from strixfleet.on_host.switch.option_aliases import SEVERAL_HOSTS


DROP_INS = Question(Ask.GLOB, f"{UNITS}/llama-server@*.service.d/{server_unit.DROP_IN}")
KEY_NAMES = Question(Ask.NAMES, KEYS)
MARKER = "# Managed by strixfleet"
ETC = "/etc/strixfleet"
PRELOAD = Question(Ask.READ, "/etc/ld.so.preload")


def _left_over(servers: tuple[Server, ...]) -> Check:
    """Find instances and keys of ours that the inventory no longer has."""
    wanted = {server.instance for server in servers}
    with_key = {server.instance for server in servers if server.key}

    def instances(answers: Answers) -> list[str]:
        found = []
        for path, text in answers.texts(DROP_INS.subject).items():
            name = path.removeprefix(f"{UNITS}/llama-server@")
            name = name.removesuffix(f".service.d/{server_unit.DROP_IN}")
            if text.startswith(MARKER) and name not in wanted:
                found.append(name)
        return sorted(found)

    def keys(answers: Answers) -> list[str]:
        names = answers[KEY_NAMES].value
        return sorted({str(name) for name in names} - with_key) if isinstance(names, list) else []

    def read(answers: Answers) -> Have:
        error = answers[DROP_INS].error or answers[KEY_NAMES].error
        return Have([*instances(answers), *(f"key {name}" for name in keys(answers))], error)

    def retire(answers: Answers) -> Iterator[Deed]:
        for name in instances(answers):
            yield Deed("retired_server", {"name": name})
        for name in keys(answers):
            yield Deed("absent", {"path": f"{KEYS}/{name}"})

    return Check(
        id="llama_server:stale",
        wanted=[],
        reader=read,
        questions=(DROP_INS, KEY_NAMES),
        message="instances and keys that left the inventory",
        steps=retire,
    )


def _listeners(servers: tuple[Server, ...]) -> Check:
    wanted = {one for server in servers for one in server.listeners}

    def read(answers: Answers) -> Have:
        answer, copies = answers[LISTENERS], answers[COPIES]
        if answer.error or copies.error or not isinstance(answer.value, str):
            return Have(error=answer.error or copies.error or "`ss` is not installed")
        found = server_unit.listeners(answer.value, copies.value if isinstance(copies.value, dict) else {})
        return Have([f"{name} on {at}" for at, name in sorted(found.items()) if at not in wanted])

    return Check(
        id="llama_server:listeners",
        wanted=[],
        reader=read,
        questions=(LISTENERS, COPIES),
        cure=Cure.MANUAL,
        message="llama.cpp listens where it should not",
    )


def _overrides(server: Server) -> Check:
    unit = server.unit_question

    def read(answers: Answers) -> Have:
        row = answers[unit].value
        if not isinstance(row, dict):
            return Have(error=answers[unit].error or "systemd does not describe this unit")
        return Have(server_unit.overrides(row, server.instance))

    return Check(
        id=f"{server.id}:overrides",
        wanted=[],
        reader=read,
        questions=(unit,),
        cure=Cure.MANUAL,
        message="unit files that are not ours change this server; remove them, or move them to the inventory",
    )


def _crashes(server: Server) -> Check:
    """Count what systemd started again by itself, since somebody started the server on purpose."""
    unit = server.unit_question

    def read(answers: Answers) -> Have:
        row = answers[unit].value
        count = str(row.get("NRestarts") or 0) if isinstance(row, dict) else ""
        if not count.isdigit():
            return Have(error=answers[unit].error or "systemd does not say how often it was restarted")
        return Have(int(count))

    return Check(
        id=f"{server.id}:crashes",
        wanted=0,
        reader=read,
        questions=(unit,),
        cure=Cure.MANUAL,
        message=f"it ended by itself and was started again; see `journalctl -u {server.name}`, "
        f"then `systemctl reset-failed {server.name}` begins the count anew",
    )


def _preloaded() -> Check:
    def read(answers: Answers) -> Have:
        text = answers.text(PRELOAD.verb, PRELOAD.subject)
        return Have(text or None, answers[PRELOAD].error)

    return Check(
        id=f"llama_server:{PRELOAD.subject}",
        wanted=None,
        reader=read,
        questions=(PRELOAD,),
        cure=Cure.MANUAL,
        message="every program loads this first, the servers too: remove it, or waive it if it is yours",
    )


def _loopback_only(server: Server) -> Check:
    return Check(
        id=f"{server.id}:tailnet",
        wanted="served",
        reader=lambda _answers: Have("loopback only"),
        cure=Cure.MANUAL,
        message=f"the current build takes one address: `strixfleet upgrade` to b{SEVERAL_HOSTS} or newer",
    )


def llama_server(settings: HostSettings, machine: Machine) -> Iterator[Thing]:
    """Return our unit files, each server running as compiled, and nothing else of ours."""
    instances = settings.llama_server_instances
    servers = tuple(server_of(settings, machine, instance) for instance in instances)
    yield _left_over(servers)
    yield Folder(id=f"llama_server:{ETC}", path=ETC)
    if servers:
        yield template_file(serving_backend(settings, machine), simulated=machine.simulated is not None)
    if any(server.key for server in servers):
        yield Folder(id=f"llama_server:{KEYS}", path=KEYS, mode="0700")
    for server in servers:
        yield server.drop_in
        if server.key:
            yield server.key
        yield server
        yield _overrides(server)
        yield _crashes(server)
    for instance, server in zip(instances, servers, strict=True):
        if instance.host == "tailnet" and machine.tailnet_address and machine.one_address:
            yield _loopback_only(server)
    yield _listeners(servers)
    if servers:
        yield _preloaded()
