"""Servers: one hardened unit per instance, running the current build as it was compiled to be."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

from strixfleet.findings.items import Cost, Cure, Item, Observed
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.managed.aspect import Situation
from strixfleet.managed.llama_server import server_command, server_unit
from strixfleet.managed.llama_server.server_files import (
    TEMPLATE,
    backend_of,
    takes_several,
    template_file,
    unit_of,
)
from strixfleet.managed.llama_server.server_unit import CURRENT, KEYS, MANIFEST, UNITS, Unit
from strixfleet.managed.things.file import ManagedFile
from strixfleet.on_host.questions import Answers, Ask, Json, Question
from strixfleet.on_host.switch.option_aliases import SEVERAL_HOSTS


DROP_INS = f"{UNITS}/llama-server@*.service.d/{server_unit.DROP_IN}"
MARKER = "# Managed by strixfleet"
KEY_FILE: dict[str, Json] = {
    "content": "as in the inventory",
    "mode": "0600",
    "owner": "root",
    "group": "root",
}
OVERRIDES = "unit files that are not ours change this server; remove them, or move them into the inventory"
LOOPBACK_ALONE = f"the current build takes one address: `strixfleet upgrade` to b{SEVERAL_HOSTS} or newer"


def tailnet_address(answers: Answers) -> str | None:
    """Return the host's own address in its tailnet."""
    try:
        status = json.loads(answers.text(Ask.RUN, "tailscale") or "")
    except ValueError:
        return None
    found = (status.get("Self") or {}).get("TailscaleIPs") or [] if isinstance(status, dict) else []
    return next((one for one in found if isinstance(one, str) and ":" not in one), None)


def _stale(answers: Answers, wanted: set[str]) -> tuple[str, ...]:
    """Find instances of ours that the inventory no longer has."""
    found = []
    for path, text in answers.texts(DROP_INS).items():
        name = path.removeprefix(f"{UNITS}/llama-server@").removesuffix(f".service.d/{server_unit.DROP_IN}")
        if text.startswith(MARKER) and name not in wanted:
            found.append(name)
    return tuple(sorted(found))


def _stale_keys(answers: Answers, wanted: set[str]) -> tuple[str, ...]:
    names = answers[Question(Ask.NAMES, KEYS)].value
    found = names if isinstance(names, list) else []
    return tuple(sorted(str(name) for name in found if name not in wanted))


@dataclass(frozen=True, slots=True)
class LlamaServer:
    """The servers of one host."""

    template: ManagedFile
    units: tuple[Unit, ...]
    stale: tuple[str, ...]
    stale_keys: tuple[str, ...]
    without_tailnet: tuple[str, ...]
    loopback_alone: tuple[str, ...]

    name: ClassVar[str] = "llama_server"

    @classmethod
    def questions(cls, host: Host) -> Iterator[Question]:
        """Ask for unit files, units, answers on their ports, listeners, and which build is current."""
        yield Question(Ask.DIGEST, TEMPLATE)
        yield Question(Ask.GLOB, DROP_INS)
        yield Question(Ask.NAMES, KEYS)
        yield Question(Ask.LINK, CURRENT)
        yield Question(Ask.READ, MANIFEST)
        yield Question(Ask.READ, server_unit.OPTIONS_FILE)
        yield Question(Ask.RUN, "listeners")
        if any(instance.host == "tailnet" for instance in host.settings.llama_server_instances):
            yield Question(Ask.RUN, "tailscale")
        for instance in host.settings.llama_server_instances:
            yield Question(Ask.DIGEST, server_unit.drop_in_path(instance.name))
            yield Question(Ask.UNIT, server_unit.unit_name(instance.name))
            url = server_command.listening(instance).url
            yield from server_unit.http_questions(instance.name, url, has_key=instance.api_key is not None)
            if instance.api_key:
                yield Question(Ask.DIGEST, f"{KEYS}/{instance.name}")

    @classmethod
    def compile(cls, situation: Situation) -> Self:
        """Settle units from inventory, backend, cores and tailnet address."""
        settings, answers = situation.host.settings, situation.answers
        address = tailnet_address(answers)
        template = template_file(backend_of(situation), simulated=situation.facts.simulated is not None)
        instances = settings.llama_server_instances
        units = tuple(unit_of(situation, instance, template, address) for instance in instances)
        return cls(
            template,
            units,
            _stale(answers, {unit.instance for unit in units}),
            _stale_keys(answers, {unit.instance for unit in units if unit.key}),
            tuple(one.name for one in instances if one.host == "tailnet" and not address),
            tuple(
                one.name
                for one in instances
                if one.host == "tailnet" and address and not takes_several(answers)
            ),
        )

    def items(self) -> Iterator[Item]:
        """Want our unit files, each server running as compiled, and nothing else of ours."""
        if self.units:
            yield self.template.item(self.name)
        for unit in self.units:
            yield unit.drop_in.item(self.name)
            if unit.key:
                yield Item(f"{self.name}:{unit.key.path}", dict(KEY_FILE), cost=Cost.RESTART)
            yield Item(f"{self.name}:{unit.instance}", unit.want(), cost=Cost.RESTART)
            yield Item(f"{self.name}:{unit.instance}:overrides", [], Cure.MANUAL, message=OVERRIDES)
        for instance in self.loopback_alone:
            yield Item(f"{self.name}:{instance}:tailnet", "served", Cure.MANUAL, message=LOOPBACK_ALONE)
        yield Item(f"{self.name}:stale", [], message="instances and keys that left the inventory")
        yield Item(f"{self.name}:listeners", [], Cure.MANUAL, message="llama.cpp listens where it should not")

    def observe(self, answers: Answers) -> Iterator[Observed]:
        """Read unit files, units, ports and processes."""
        if self.units:
            yield self.template.observe(self.name, answers)
        for unit in self.units:
            yield unit.drop_in.observe(self.name, answers)
            if unit.key:
                yield _observe_key(unit.key, answers)
            yield from self._observe_unit(unit, answers)
        for instance in self.loopback_alone:
            yield Observed(f"{self.name}:{instance}:tailnet", "loopback alone")
        stale: list[Json] = [*self.stale, *(f"key {name}" for name in self.stale_keys)]
        error = answers[Question(Ask.GLOB, DROP_INS)].error or answers[Question(Ask.NAMES, KEYS)].error
        yield Observed(f"{self.name}:stale", stale, error)
        yield self._observe_listeners(answers)

    def _observe_unit(self, unit: Unit, answers: Answers) -> Iterator[Observed]:
        item_id = f"{self.name}:{unit.instance}"
        answer = answers[Question(Ask.UNIT, unit.name)]
        health, props = (answers[question] for question in unit.http_questions)
        listening = answers[Question(Ask.RUN, "listeners")]
        error = answer.error or health.error or props.error or listening.error
        if error or not isinstance(answer.value, dict):
            yield Observed(item_id, error=error or "systemd does not say how it stands")
            yield Observed(f"{item_id}:overrides", error=error or "systemd does not say how it stands")
            return
        have = unit.have(answer.value, health.value, props.value, answers)
        message = "the host has no tailnet address yet" if unit.instance in self.without_tailnet else ""
        if unit.instance in self.without_tailnet:
            have["listening"] = [*unit.listeners, "no tailnet address"]
        yield Observed(item_id, have, message=message)
        yield Observed(f"{item_id}:overrides", server_unit.overrides(answer.value, unit.instance))

    def _observe_listeners(self, answers: Answers) -> Observed:
        answer = answers[Question(Ask.RUN, "listeners")]
        if answer.error or not isinstance(answer.value, str):
            return Observed(f"{self.name}:listeners", error=answer.error or "`ss` is not installed")
        wanted = {one for unit in self.units for one in unit.listeners}
        found = server_unit.listeners(answer.value)
        extra: list[Json] = [f"{name} on {at}" for at, name in sorted(found.items()) if at not in wanted]
        return Observed(f"{self.name}:listeners", extra)

    def role_vars(self) -> dict[str, Json]:
        """Return the role its files, its units, and what has to go."""
        files = [self.template, *(unit.drop_in for unit in self.units)] if self.units else []
        return {
            "llama_server_files": [file.role_var() for file in files],
            "llama_server_keys": [unit.key.role_var() for unit in self.units if unit.key],
            "llama_server_units": [unit.role_var() for unit in self.units],
            "llama_server_stale": list(self.stale),
            "llama_server_stale_keys": [f"{KEYS}/{name}" for name in self.stale_keys],
        }


def _observe_key(key: ManagedFile, answers: Answers) -> Observed:
    """Say whether the key is the wanted one; its digest, which could be guessed from, stays here."""
    seen = key.observe(LlamaServer.name, answers)
    if not isinstance(seen.have, dict):
        return seen
    content = "as in the inventory" if seen.have.get("sha256") == key.sha256 else "different"
    have = {name: seen.have.get(name) for name in ("mode", "owner", "group")}
    return Observed(seen.id, {"content": content, **have})
