"""What of a host may bear on its speed, by the id of its audit: what siblings are compared by."""

from collections.abc import Iterator, Mapping

from strixfleet.findings.items import Difference, Status
from strixfleet.inventory.schema.parts import Instance
from strixfleet.managed.compiled import DesiredState
from strixfleet.managed.llama_server.server_command import command, environment, listening
from strixfleet.managed.llama_server.server_files import serving_backend
from strixfleet.on_host.questions import Answers, Ask, Question
from strixfleet.on_host.switch.option_aliases import PAIRS


ABSENT = "nothing"
# Items whose `have` is itself the value; of others it only says whether what is there will do.
_ITEMS = ("tuning:", "llama_cpp:current", "llama_cpp:shaders", "gpu_stack:amdvlk", "gpu_stack:mes_firmware")
_GTT = ("ttm.pages_limit", "amdgpu.gttsize")  # seen by their effect, kernel:gtt_total
# Arguments that name disks, consoles and initial programs: no matter of speed.
_PLACES = ("BOOT_IMAGE", "root", "rootflags", "rootfstype", "resume", "initrd", "ro", "rw", "quiet", "splash")
_PLACE_PREFIXES = ("rd.", "systemd.", "console", "cryptdevice", "ip", "net.", "hostname")
_OWN_OPTIONS = frozenset({"alias", "host", "port"})


def traits_of(state: DesiredState, answers: Answers, rows: tuple[Difference, ...]) -> dict[str, str]:
    """Return {id: value} of what was read; what could not be read is left out."""
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
    """Return the kernel's arguments that are no place and no part of the GTT's size."""
    for word in command_line.split():
        name, equals, value = word.partition("=")
        if name not in {*_PLACES, *_GTT} and not name.startswith(_PLACE_PREFIXES):
            yield f"kernel:{name}", value if equals else "set"


def _rows(rows: tuple[Difference, ...], answers: Answers) -> Iterator[tuple[str, str]]:
    """Return items that tell a value, and versions of the packages that items are about."""
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


def _today(name: str, value: str | None) -> tuple[str, str]:
    """Return an option as today's releases spell it: either spelling says the same."""
    option, _, fixed = dict(PAIRS).get(f"--{name}", f"--{name}").removeprefix("--").partition(" ")
    return option, fixed or value or "set"


def options_of(state: DesiredState, instance: Instance) -> Mapping[str, str]:
    """Return {id: value} of a server's options and variables; where it listens is no matter of speed."""
    backend = serving_backend(state.host.settings, state.machine)
    options = command(instance, backend, state.machine.physical_cores, listening(instance))
    words = dict(_today(*one) for one in options.items() if one[0] not in _OWN_OPTIONS)
    words |= {"draft_model": instance.draft_model} if instance.draft_model else {}
    words |= environment(instance, backend, simulated=state.machine.simulated is not None)
    return {f"llama_server:{name}": value for name, value in words.items()}
