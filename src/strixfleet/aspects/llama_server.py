"""Servers: one hardened unit per instance, running the current build as it was compiled to be."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from strixfleet import assets
from strixfleet.core import server_command, server_options, server_unit, unit_files
from strixfleet.core.aspect import Situation
from strixfleet.core.files import ManagedFile
from strixfleet.core.fleet import Host
from strixfleet.core.items import Cost, Cure, Item, Observed
from strixfleet.core.model_store import StoredFile, catalogue
from strixfleet.core.questions import Answers, Json, Question, Verb
from strixfleet.core.server_unit import CURRENT, KEYS, MANIFEST, UNITS, Unit
from strixfleet.core.settings_parts import Instance
from strixfleet.host.renames import PREFIX


TEMPLATE = f"{UNITS}/llama-server@.service"
DROP_INS = f"{UNITS}/llama-server@*.service.d/{server_unit.DROP_IN}"
MARKER = "# Managed by strixfleet"
DEVICES = {"vulkan": ("char-drm",), "rocm": ("char-drm", "char-kfd"), "cpu": ()}
KEY_FILE: dict[str, Json] = {
    "content": "as in the inventory",
    "mode": "0600",
    "owner": "root",
    "group": "root",
}
OVERRIDES = "unit files that are not ours change this server; remove them, or move them into the inventory"
PROBES = {"embedding": "embedding", "embeddings": "embedding", "rerank": "health", "reranking": "health"}


def template_file(backend: str, *, simulated: bool) -> ManagedFile:
    """Give the unit that all instances share."""
    devices = DEVICES[backend]
    content = assets.render(
        f"host{TEMPLATE}.j2",
        devices=devices,
        groups=("render", "video") if devices else (),
        write_and_execute=server_command.may_write_and_execute(backend, simulated=simulated),
    )
    return ManagedFile(TEMPLATE, content, cost=Cost.RESTART)


def _drop_in(situation: Situation, instance: Instance, where: server_command.Listening, config: str) -> str:
    """Render the drop-in of one instance."""
    settings, facts = situation.host.settings, situation.facts
    models = catalogue(settings.llama_models)
    words = [server_command.SERVER, "--model", models[instance.model][0].path]
    if instance.draft_model:
        words += ["--model-draft", models[instance.draft_model][0].path]
    options = server_command.command(instance, settings.llama_cpp_backend, facts, where)
    more, variables = server_options.unit_words(options)
    files = _files(instance, models)
    return assets.render(
        f"host{UNITS}/llama-server@.service.d/{server_unit.DROP_IN}.j2",
        command=unit_files.command_line([*words, *more]),
        variables=unit_files.environment_lines(variables),
        options_file=server_unit.OPTIONS_FILE,
        environment=unit_files.environment_lines(
            server_command.environment(instance, settings.llama_cpp_backend, facts)
        ),
        key_file=f"{KEYS}/{instance.name}" if instance.api_key else "",
        credential=server_command.CREDENTIAL,
        binds=[unit_files.bind_path(f.path) for f in files if f.path.startswith(server_unit.HIDDEN)],
        config=config,
    )


def _files(instance: Instance, models: Mapping[str, tuple[StoredFile, ...]]) -> tuple[StoredFile, ...]:
    names = [instance.model, *([instance.draft_model] if instance.draft_model else [])]
    return tuple(file for name in names for file in models[name])


def _unit(situation: Situation, instance: Instance, template: ManagedFile, address: str | None) -> Unit:
    """Settle one instance."""
    where = server_command.listening(instance, address)
    files = _files(instance, catalogue(situation.host.settings.llama_models))
    secret = instance.api_key
    key = server_unit.key_file(instance.name, secret.get_secret_value()) if secret else None
    config = server_unit.config_digest(
        template.content,
        _drop_in(situation, instance, where, ""),
        server_unit.key_fingerprint(instance.name, key.content) if key else "",
        [file.sha256 for file in files],
    )
    drop_in = ManagedFile(
        server_unit.drop_in_path(instance.name),
        _drop_in(situation, instance, where, config),
        cost=Cost.RESTART,
    )
    probe = next((PROBES[name] for name in instance.arguments if name in PROBES), "completion")
    paths = tuple(file.path for file in files)
    renamed = PREFIX in drop_in.content
    return Unit(instance.name, drop_in, key, config, where.url, where.bound, paths, probe, renamed)


def tailnet_address(answers: Answers) -> str | None:
    """Give the host's own address in its tailnet."""
    try:
        status = json.loads(answers.text(Verb.RUN, "tailscale") or "")
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
    names = answers[Question(Verb.NAMES, KEYS)].value
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

    name: ClassVar[str] = "llama_server"

    @classmethod
    def questions(cls, host: Host) -> Iterator[Question]:
        """Ask for unit files, units, answers on their ports, listeners, and which build is current."""
        yield Question(Verb.DIGEST, TEMPLATE)
        yield Question(Verb.GLOB, DROP_INS)
        yield Question(Verb.NAMES, KEYS)
        yield Question(Verb.LINK, CURRENT)
        yield Question(Verb.READ, MANIFEST)
        yield Question(Verb.RUN, "listeners")
        if any(instance.host == "tailnet" for instance in host.settings.llama_server_instances):
            yield Question(Verb.RUN, "tailscale")
        for instance in host.settings.llama_server_instances:
            yield Question(Verb.DIGEST, server_unit.drop_in_path(instance.name))
            yield Question(Verb.UNIT, server_unit.unit_name(instance.name))
            url = server_command.listening(instance).url
            yield from server_unit.http_questions(instance.name, url, has_key=instance.api_key is not None)
            if instance.api_key:
                yield Question(Verb.DIGEST, f"{KEYS}/{instance.name}")

    @classmethod
    def compile(cls, situation: Situation) -> Self:
        """Settle units from inventory, backend, cores and tailnet address."""
        settings, answers = situation.host.settings, situation.answers
        address = tailnet_address(answers)
        template = template_file(settings.llama_cpp_backend, simulated=situation.facts.simulated is not None)
        instances = settings.llama_server_instances
        units = tuple(_unit(situation, instance, template, address) for instance in instances)
        return cls(
            template,
            units,
            _stale(answers, {unit.instance for unit in units}),
            _stale_keys(answers, {unit.instance for unit in units if unit.key}),
            tuple(one.name for one in instances if one.host == "tailnet" and not address),
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
        stale: list[Json] = [*self.stale, *(f"key {name}" for name in self.stale_keys)]
        error = answers[Question(Verb.GLOB, DROP_INS)].error or answers[Question(Verb.NAMES, KEYS)].error
        yield Observed(f"{self.name}:stale", stale, error)
        yield self._observe_listeners(answers)

    def _observe_unit(self, unit: Unit, answers: Answers) -> Iterator[Observed]:
        item_id = f"{self.name}:{unit.instance}"
        answer = answers[Question(Verb.UNIT, unit.name)]
        health, props = (answers[question] for question in unit.http_questions)
        listening = answers[Question(Verb.RUN, "listeners")]
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
        answer = answers[Question(Verb.RUN, "listeners")]
        if answer.error or not isinstance(answer.value, str):
            return Observed(f"{self.name}:listeners", error=answer.error or "`ss` is not installed")
        wanted = {one for unit in self.units for one in unit.listeners}
        found = server_unit.listeners(answer.value)
        extra: list[Json] = [f"{name} on {at}" for at, name in sorted(found.items()) if at not in wanted]
        return Observed(f"{self.name}:listeners", extra)

    def role_vars(self) -> dict[str, Json]:
        """Give the role its files, its units, and what has to go."""
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
