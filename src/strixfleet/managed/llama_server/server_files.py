"""What `llama_server` writes for an instance: the shared unit, its drop-in, its key, and their digest."""

from collections.abc import Mapping

from strixfleet.findings.items import Cost
from strixfleet.inventory.schema.parts import Instance
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.llama_models.model_store import StoredFile, catalogue
from strixfleet.managed.llama_server import server_command, server_options, server_unit, unit_quoting
from strixfleet.managed.llama_server.server_unit import KEYS, UNITS, Server
from strixfleet.managed.machine import Machine
from strixfleet.managed.platforms.backends import BACKENDS, Backend, backend_of
from strixfleet.managed.things.file import File, Template
from strixfleet.on_host import confinement
from strixfleet.on_host.switch.option_aliases import PREFIX


TEMPLATE = f"{UNITS}/llama-server@.service"
GENERATES = "completion"
PROBES = {"embedding": "embedding", "embeddings": "embedding", "rerank": "health", "reranking": "health"}


def serving_backend(settings: HostSettings, machine: Machine) -> Backend:
    """Return the current build's backend, which `provision` keeps; without a known one the wanted one."""
    return BACKENDS.get(machine.serving_backend or "") or backend_of(settings.llama_cpp_backend)


def template_file(serving: Backend, *, simulated: bool) -> File:
    """Return the unit that all instances share."""
    write_and_execute = serving.may_write_and_execute(simulated=simulated)
    values = {"confinement": confinement.properties(serving.control_groups, write_and_execute)}
    source = Template(f"host{TEMPLATE}.j2", values)
    return File(id=f"llama_server:{TEMPLATE}", path=TEMPLATE, source=source, cost=Cost.RESTART)


def _drop_in(settings: HostSettings, machine: Machine, instance: Instance, config: str) -> Template:
    serving = serving_backend(settings, machine)
    where = server_command.listening(instance, machine.tailnet_address)
    models = catalogue(settings.llama_models)
    words = [server_command.SERVER, "--model", models[instance.model][0].path]
    if instance.draft_model:
        words += ["--model-draft", models[instance.draft_model][0].path]
    options = server_command.command(instance, serving, machine.physical_cores, where)
    more, variables = server_options.unit_words(options)
    environment = server_command.environment(instance, serving, machine)
    files = files_of(instance, models)
    return Template(
        f"host{UNITS}/llama-server@.service.d/{server_unit.DROP_IN}.j2",
        {
            "account": server_unit.account(instance.name),
            "command": unit_quoting.command_line([*words, *more]),
            "variables": unit_quoting.environment_lines(variables),
            "options_file": server_unit.OPTIONS_FILE,
            "environment": unit_quoting.environment_lines(environment),
            "key_file": f"{KEYS}/{instance.name}" if instance.api_key else "",
            "credential": server_command.CREDENTIAL,
            "binds": [unit_quoting.bind_path(f.path) for f in files if f.path.startswith(server_unit.HIDDEN)],
            "config": config,
        },
    )


def probe_of(instance: Instance) -> str:
    """Name the request that shows that a server works; one that embeds or ranks generates no text."""
    return next((PROBES[name] for name in instance.arguments if name in PROBES), GENERATES)


def files_of(instance: Instance, models: Mapping[str, tuple[StoredFile, ...]]) -> tuple[StoredFile, ...]:
    """Return the model files that an instance reads."""
    names = [instance.model, *([instance.draft_model] if instance.draft_model else [])]
    return tuple(file for name in names for file in models[name])


def server_of(settings: HostSettings, machine: Machine, instance: Instance) -> Server:
    """Settle one instance."""
    where = server_command.listening(instance, machine.tailnet_address)
    files = files_of(instance, catalogue(settings.llama_models))
    template = template_file(serving_backend(settings, machine), simulated=machine.simulated is not None)
    secret = instance.api_key
    key = server_unit.key_file(instance.name, secret.get_secret_value()) if secret else None
    config = server_unit.config_digest(
        template.content,
        _drop_in(settings, machine, instance, "").text,
        server_unit.key_fingerprint(instance.name, key.content) if key else "",
        [file.sha256 for file in files],
    )
    path = server_unit.drop_in_path(instance.name)
    text = _drop_in(settings, machine, instance, config).text
    drop_in = File(id=f"llama_server:{path}", path=path, source=text, cost=Cost.RESTART)
    return Server(
        id=f"llama_server:{instance.name}",
        instance=instance.name,
        drop_in=drop_in,
        key=key,
        config=config,
        url=where.url,
        listeners=where.bound[:1] if machine.one_address else where.bound,
        models=tuple(file.path for file in files),
        probe=probe_of(instance),
        renamed=PREFIX in drop_in.content,
        waits_for_tailnet=instance.host == "tailnet" and not machine.tailnet_address,
    )
