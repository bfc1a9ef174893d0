"""What `llama_server` writes for an instance: the shared unit, its drop-in, its key, and their digest."""

from collections.abc import Mapping

from strixfleet import assets
from strixfleet.findings.items import Cost
from strixfleet.inventory.schema.parts import Instance
from strixfleet.managed.aspect import Situation
from strixfleet.managed.llama_models.model_store import StoredFile, catalogue
from strixfleet.managed.llama_server import server_command, server_options, server_unit, unit_quoting
from strixfleet.managed.llama_server.server_unit import KEYS, UNITS, Unit
from strixfleet.managed.things.file import ManagedFile
from strixfleet.on_host.questions import Answers, Ask
from strixfleet.on_host.switch.option_aliases import ONE_HOST, PREFIX


TEMPLATE = f"{UNITS}/llama-server@.service"
DEVICES = {"vulkan": ("char-drm",), "rocm": ("char-drm", "char-kfd"), "cpu": ()}
PROBES = {"embedding": "embedding", "embeddings": "embedding", "rerank": "health", "reranking": "health"}


def backend_of(situation: Situation) -> str:
    """Return current build's backend, which `provision` keeps; the wished one where no build is current."""
    return server_unit.backend_in_use(situation.answers, situation.host.settings.llama_cpp_backend)


def template_file(backend: str, *, simulated: bool) -> ManagedFile:
    """Return the unit that all instances share."""
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
    options = server_command.command(instance, backend_of(situation), facts, where)
    more, variables = server_options.unit_words(options)
    files = _files(instance, models)
    return assets.render(
        f"host{UNITS}/llama-server@.service.d/{server_unit.DROP_IN}.j2",
        command=unit_quoting.command_line([*words, *more]),
        variables=unit_quoting.environment_lines(variables),
        options_file=server_unit.OPTIONS_FILE,
        environment=unit_quoting.environment_lines(
            server_command.environment(instance, backend_of(situation), facts)
        ),
        key_file=f"{KEYS}/{instance.name}" if instance.api_key else "",
        credential=server_command.CREDENTIAL,
        binds=[unit_quoting.bind_path(f.path) for f in files if f.path.startswith(server_unit.HIDDEN)],
        config=config,
    )


def _files(instance: Instance, models: Mapping[str, tuple[StoredFile, ...]]) -> tuple[StoredFile, ...]:
    names = [instance.model, *([instance.draft_model] if instance.draft_model else [])]
    return tuple(file for name in names for file in models[name])


def takes_several(answers: Answers) -> bool:
    """Tell whether the current build listens on several addresses, as its own help had the host note."""
    return ONE_HOST.strip() not in (answers.text(Ask.READ, server_unit.OPTIONS_FILE) or "")


def unit_of(situation: Situation, instance: Instance, template: ManagedFile, address: str | None) -> Unit:
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
    bound = where.bound if takes_several(situation.answers) else where.bound[:1]
    return Unit(instance.name, drop_in, key, config, where.url, bound, paths, probe, renamed)
