"""The machine that desired state is settled for: little, and recorded on the host when it is applied."""

from dataclasses import asdict, dataclass, field, replace
from typing import get_type_hints

from strixfleet.inventory.hardware import PROFILES, Profile, recognise
from strixfleet.managed.facts import Facts
from strixfleet.managed.host_documents import json_map
from strixfleet.on_host.questions import Json


@dataclass(frozen=True, slots=True)
class Machine:
    """
    What desired state depends on beside the settings, and nothing else of the host.

    `kernel_line` is the major and minor number of the kernel that the next boot takes. `visible_gib` is what
    the kernel has beside `carve_out_gib`, the firmware's share for the GPU. `serving_backend` is that of the
    current build, which `provision` keeps; `one_address` tells that this build listens on one address only.
    `gpu_id` is the APU's PCI id where other AMD cards are there, too, and `gpu_number` its place among ROCm's
    devices: servers are told which to take. `card` is where sysfs shows the GPU, `other_gpus` are the other
    cards and `reason` says why this profile: none is wanted of the host.
    `tailscale_key` is the content of a file on the controller, whose fingerprint the settings name.
    """

    profile: str | None = None
    gfx: str | None = None
    gtt_gib: int | None = None
    reserve_gib: int = 0
    os_id: str = ""
    os_version: str = ""
    os_codename: str = ""
    kernel_line: str = ""
    visible_gib: int = 0
    carve_out_gib: int = 0
    physical_cores: int = 0
    simulated: str | None = None
    serving_backend: str | None = None
    one_address: bool = False
    tailnet_address: str | None = None
    gpu_id: str | None = None
    gpu_number: int = 0
    other_gpus: tuple[str, ...] = field(default=(), compare=False)
    card: str = field(default="", compare=False)
    reason: str = field(default="", compare=False)
    tailscale_key: str = field(default="", compare=False, repr=False)

    def to_json(self) -> dict[str, Json]:
        """Return what is recorded on the host."""
        unrecorded = {"card", "other_gpus", "reason", "tailscale_key"}
        return {key: value for key, value in asdict(self).items() if key not in unrecorded}

    @classmethod
    def from_json(cls, data: Json) -> "Machine | None":
        """Read what was recorded; None where it is not what this version records."""
        if not isinstance(data, dict):
            return None
        kinds = get_type_hints(cls)
        if data.keys() != cls().to_json().keys() or not all(_is(data[key], kinds[key]) for key in data):
            return None
        return cls(**data)  # type: ignore[arg-type]


def _is(value: Json, kind: type) -> bool:
    """Tell whether a value is of a type; true and false are not numbers."""
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def profile_for(wish: str, facts: Facts) -> tuple[Profile | None, str]:
    """Choose the hardware profile: as the inventory says, or as the host was recognised."""
    found = recognise(facts.dmi or {}, facts.pci_ids, facts.memory_bytes + facts.vram_bytes)
    if wish not in {"auto", "sandbox"}:
        return PROFILES[wish], "set in the inventory"
    recognised = PROFILES[found.profile] if found.profile else None
    if wish == "auto" or recognised is None:
        return recognised, found.reason
    sandbox = replace(
        PROFILES["sandbox"],
        memory_gib=recognised.memory_gib,
        gtt_gib=recognised.gtt_gib,
        gfx=recognised.gfx,
    )
    return sandbox, f"a sandbox that presents a {recognised.name}"


def kernel_line(release: str) -> str:
    """Return major and minor number of a kernel release."""
    return ".".join(release.split("-", maxsplit=1)[0].split(".")[:2])


@dataclass(frozen=True, slots=True)
class Applied:
    """What a host recorded when it was last provisioned."""

    digest: str
    machine: Machine | None

    @classmethod
    def read(cls, text: str | None) -> "Applied | None":
        """Read /etc/strixfleet/applied.json; None where there is none or it is damaged."""
        found = json_map(text)
        digest = found.get("digest")
        return cls(digest, Machine.from_json(found.get("machine"))) if isinstance(digest, str) else None
