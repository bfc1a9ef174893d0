"""What a host is, read in the same round trip as everything else; settles what `auto` means."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from strixfleet.inventory.hardware import APU_PCI, normal_pci_id
from strixfleet.on_host.questions import Answers, Ask, Question


DRM = "/sys/class/drm/card*/device"
KFD_NODES = Question(Ask.GLOB, "/sys/class/kfd/kfd/topology/nodes/*/properties")
DMI = "/sys/class/dmi/id"
DMI_NAMES = ("sys_vendor", "product_name", "board_vendor", "board_name", "bios_version")
APPLIED = "/etc/strixfleet/applied.json"
FACT_QUESTIONS: tuple[Question, ...] = (
    Question(Ask.READ, "/proc/sys/kernel/osrelease"),
    Question(Ask.READ, "/proc/sys/kernel/random/boot_id"),
    Question(Ask.READ, "/proc/meminfo"),
    Question(Ask.READ, "/proc/cpuinfo"),
    Question(Ask.READ, "/etc/os-release"),
    Question(Ask.GLOB, f"{DRM}/vendor"),
    Question(Ask.GLOB, f"{DRM}/device"),
    Question(Ask.GLOB, f"{DRM}/mem_info_vram_total"),
    Question(Ask.GLOB, f"{DRM}/mem_info_gtt_total"),
    KFD_NODES,
    *(Question(Ask.READ, f"{DMI}/{name}") for name in DMI_NAMES),
    Question(Ask.RUN, "simulated"),
    Question(Ask.READ, APPLIED),
)


@dataclass(frozen=True, slots=True)
class Facts:
    """
    One host as found.

    `vram_bytes` is the BIOS carve-out, `memory_bytes` what the kernel calls MemTotal; neither contains the
    other. `gpu_device` is the APU, wherever it stands among the cards, `gpu_id` its PCI id, `gpu_number` its
    place among ROCm's devices; `other_gpus` are further AMD cards. `simulated` names the box that a sandbox
    host presents, else None. `applied` is the text that was recorded when the host was last provisioned.
    """

    kernel_release: str = ""
    boot_id: str = ""
    os_id: str = ""
    os_version: str = ""
    os_codename: str = ""
    memory_bytes: int = 0
    vram_bytes: int = 0
    gtt_bytes: int = 0
    physical_cores: int = 0
    gpu_device: str = ""
    gpu_id: str = ""
    gpu_number: int = 0
    other_gpus: tuple[str, ...] = ()
    dmi: Mapping[str, str] | None = None
    pci_ids: tuple[str, ...] = ()
    simulated: str | None = None
    applied: str | None = None


@dataclass(frozen=True, slots=True)
class ControllerFacts:
    """
    What the settings of a host take from the controller: checked content, ready to be written.

    `pinned_build` is llama.cpp's number of the pin; None where nothing here tells it.
    """

    tailscale_key: str = ""
    pinned_build: int | None = None


def _os_release(text: str) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key: value.strip().strip('"') for key, value in pairs}


def _physical_cores(cpuinfo: str) -> int:
    cores: set[tuple[str, str]] = set()
    for block in cpuinfo.split("\n\n"):
        package = re.search(r"^physical id\s*:\s*(\d+)", block, re.MULTILINE)
        core = re.search(r"^core id\s*:\s*(\d+)", block, re.MULTILINE)
        if package and core:
            cores.add((package[1], core[1]))
    return len(cores) or len(re.findall(r"^processor\s*:", cpuinfo, re.MULTILINE))


def _amd_cards(answers: Answers) -> dict[str, str]:
    """Return {device directory: PCI id} of all AMD graphics devices."""
    vendors = answers.texts(f"{DRM}/vendor")
    devices = answers.texts(f"{DRM}/device")
    found = {}
    for path, vendor in sorted(vendors.items()):
        folder = path.removesuffix("/vendor")
        if vendor == "0x1002" and (device := devices.get(f"{folder}/device")):
            found[folder] = normal_pci_id(f"{vendor}:{device}")
    return found


def _rocm_number(answers: Answers, pci_id: str) -> int:
    """Return the place of a GPU among the nodes of KFD that compute, in which order ROCm counts them."""
    gpus = []
    for path, text in answers.texts(KFD_NODES.subject).items():
        node = re.search(r"/(\d{1,9})/properties$", path)
        device = re.search(r"^device_id (\d{1,9})$", text, re.MULTILINE)
        if node and device and re.search(r"^simd_count [1-9]", text, re.MULTILINE):
            gpus.append((int(node[1]), f"{int(device[1]):04x}"))
    wanted = pci_id.partition(":")[2]
    return next((place for place, (_node, device) in enumerate(sorted(gpus)) if device == wanted), 0)


def card_bytes(answers: Answers, card: str, name: str) -> int | None:
    """Return a size that sysfs shows of a card; None where it shows none."""
    found = re.fullmatch(r"[0-9]{1,19}", answers.texts(f"{DRM}/{name}").get(f"{card}/{name}", ""))
    return int(found[0]) if found else None


def facts_from(answers: Answers) -> Facts:
    """Read the facts out of the answers; what could not be read stays empty or zero."""
    os_release = _os_release(answers.text(Ask.READ, "/etc/os-release") or "")
    meminfo = answers.text(Ask.READ, "/proc/meminfo") or ""
    memory = re.search(r"^MemTotal:\s*(\d{1,15}) kB", meminfo, re.MULTILINE)
    cards = _amd_cards(answers)
    card = next((one for one, pci_id in cards.items() if pci_id in APU_PCI), next(iter(cards), ""))
    others = tuple(f"{pci_id} at {one}" for one, pci_id in cards.items() if one != card)
    return Facts(
        kernel_release=answers.text(Ask.READ, "/proc/sys/kernel/osrelease") or "",
        boot_id=answers.text(Ask.READ, "/proc/sys/kernel/random/boot_id") or "",
        os_id=os_release.get("ID", ""),
        os_version=os_release.get("VERSION_ID", ""),
        os_codename=os_release.get("VERSION_CODENAME", ""),
        memory_bytes=int(memory[1]) * 1024 if memory else 0,
        vram_bytes=card_bytes(answers, card, "mem_info_vram_total") or 0,
        gtt_bytes=card_bytes(answers, card, "mem_info_gtt_total") or 0,
        physical_cores=_physical_cores(answers.text(Ask.READ, "/proc/cpuinfo") or ""),
        gpu_device=card,
        gpu_id=cards.get(card, ""),
        gpu_number=_rocm_number(answers, cards.get(card, "")),
        other_gpus=others,
        dmi={name: answers.text(Ask.READ, f"{DMI}/{name}") or "" for name in DMI_NAMES},
        pci_ids=tuple(cards.values()),
        simulated=answers.text(Ask.RUN, "simulated") or None,
        applied=answers.text(Ask.READ, APPLIED),
    )
