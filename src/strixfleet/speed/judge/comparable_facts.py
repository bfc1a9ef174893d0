"""The facts of a host that may affect its speed, by their id in the audit: hosts are compared by these."""

from collections.abc import Iterator, Mapping

from strixfleet.findings.items import Difference, Status
from strixfleet.inventory.schema.parts import Instance
from strixfleet.managed.compiled import DesiredState
from strixfleet.managed.kernel.arguments import GTT_NAMES
from strixfleet.managed.llama_server.server_command import command, environment, listening
from strixfleet.managed.llama_server.server_files import serving_backend
from strixfleet.on_host.questions import Answers, Ask, Question
from strixfleet.on_host.switch.option_aliases import PAIRS


ABSENT = "nothing"
# Items whose `have` is the value itself; for other items it only says whether the value is good enough.
_ITEMS = ("tuning:", "llama_cpp:current", "llama_cpp:shaders", "gpu_stack:amdvlk", "gpu_stack:mes_firmware")
# Kernel arguments about disks, consoles and initial programs do not affect speed.
_UNRELATED = (
    "BOOT_IMAGE",
    "root",
    "rootflags",
    "rootfstype",
    "resume",
    "initrd",
    "ro",
    "rw",
    "quiet",
    "splash",
)
_UNRELATED_PREFIXES = ("rd.", "systemd.", "console", "cryptdevice", "ip", "net.", "hostname")
_OWN_OPTIONS = frozenset({"alias", "host", "port"})


def comparable_facts(state: DesiredState, answers: Answers, rows: tuple[Difference, ...]) -> dict[str, str]:
    """Return {id: value}; leave out what could not be read."""
    facts = state.facts
    found = {
        "gpu_stack:kernel": facts.kernel_release,
        "kernel:gtt_total": _gib(facts.gtt_bytes),
        "kernel:carve_out": _gib(facts.vram_bytes),
        "bios:version": (facts.dmi or {}).get("bios_version", ""),
    }
    found |= dict(_arguments(answers.text(Ask.READ, "/proc/cmdline") or ""))
    found |= dict(_rows(rows, answers))
    return {item: value for item, value in found.items() if value}


def _gib(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count else ""


def _arguments(command_line: str) -> Iterator[tuple[str, str]]:
    """Return the kernel arguments that may affect speed; the GTT size is compared by its effect."""
    for word in command_line.split():
        name, equals, value = word.partition("=")
        if name not in GTT_NAMES.union(_UNRELATED) and not name.startswith(_UNRELATED_PREFIXES):
            yield f"kernel:{name}", value if equals else "set"


def _rows(rows: tuple[Difference, ...], answers: Answers) -> Iterator[tuple[str, str]]:
    """Return the items whose `have` is a value, and the versions of the GPU stack's packages."""
    for row in rows:
        aspect, _, name = row.id.partition(":")
        version = answers.text(Ask.PACKAGE, name) if Question(Ask.PACKAGE, name) in answers else None
        if aspect == "gpu_stack" and version:
            yield row.id, version
        elif (
            row.id.startswith(_ITEMS) and row.status is not Status.UNKNOWN and not isinstance(row.have, dict)
        ):
            listed = row.have if isinstance(row.have, list) else [row.have]
            yield row.id, ", ".join(str(one) for one in listed if one is not None) or ABSENT


def _current_spelling(name: str, value: str | None) -> tuple[str, str]:
    """Return an option as current releases spell it, so that old and new spellings compare equal."""
    option, _, fixed = dict(PAIRS).get(f"--{name}", f"--{name}").removeprefix("--").partition(" ")
    return option, fixed or value or "set"


def options_of(state: DesiredState, instance: Instance) -> Mapping[str, str]:
    """Return {id: value} of a server's options and variables, but for its name and address."""
    backend = serving_backend(state.host.settings, state.machine)
    options = command(instance, backend, state.machine.physical_cores, listening(instance))
    words = dict(_current_spelling(*one) for one in options.items() if one[0] not in _OWN_OPTIONS)
    words |= {"draft_model": instance.draft_model} if instance.draft_model else {}
    words |= environment(instance, backend, state.machine)
    return {f"llama_server:{name}": value for name, value in words.items()}
