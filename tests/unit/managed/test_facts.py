"""Of several AMD cards the APU is found by its PCI id."""

import pytest

from strixfleet.managed.facts import DRM, KFD_NODES, facts_from
from strixfleet.on_host.questions import Answer, Answers, Ask, Json, Question


APU, EGPU = "1586", "745e"


def answers(*devices: str, nodes: tuple[str, ...] = ()) -> Answers:
    """Return what sysfs shows of cards in this order, and KFD of a processor and then these nodes."""
    folders = [DRM.replace("*", str(number)) for number in range(len(devices))]
    globs: dict[str, Json] = {
        f"{DRM}/vendor": {f"{folder}/vendor": "0x1002\n" for folder in folders},
        f"{DRM}/device": {
            f"{one}/device": f"0x{device}\n" for one, device in zip(folders, devices, strict=True)
        },
        f"{DRM}/mem_info_vram_total": {
            f"{one}/mem_info_vram_total": f"{int(device, 16)}\n"
            for one, device in zip(folders, devices, strict=True)
        },
        KFD_NODES.subject: {
            KFD_NODES.subject.replace("*", str(number)): f"simd_count {simd}\ndevice_id {int(device, 16)}\n"
            for number, (simd, device) in enumerate([("0", "0"), *(("80", one) for one in nodes)])
        },
    }
    return Answers({Question(Ask.GLOB, pattern): Answer(value) for pattern, value in globs.items()})


@pytest.mark.parametrize(
    ("devices", "card", "others"),
    [
        ((APU,), "card0", ()),
        ((EGPU, APU), "card1", ("1002:745e at /sys/class/drm/card0/device",)),
        ((APU, EGPU), "card0", ("1002:745e at /sys/class/drm/card1/device",)),
        ((EGPU,), "card0", ()),
    ],
)
def test_the_apu_is_judged_and_other_cards_are_mentioned(
    devices: tuple[str, ...], card: str, others: tuple[str, ...]
) -> None:
    facts = facts_from(answers(*devices))
    assert facts.gpu_device == f"/sys/class/drm/{card}/device"
    assert facts.other_gpus == others
    assert facts.vram_bytes == int(facts.gpu_id.partition(":")[2], 16)


@pytest.mark.parametrize(
    ("nodes", "number"),
    [((EGPU, APU), 1), ((APU, EGPU), 0), ((EGPU,) * 10 + (APU,), 10), ((EGPU,), 0), ((), 0)],
)
def test_its_place_among_rocm_s_devices_is_that_among_kfd_s_nodes(
    nodes: tuple[str, ...], number: int
) -> None:
    assert facts_from(answers(EGPU, APU, nodes=nodes)).gpu_number == number
