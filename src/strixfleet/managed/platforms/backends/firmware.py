"""The GPU's firmware, which every backend on the GPU needs."""

from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.platforms.distributions import Distribution, apt_release, source_of
from strixfleet.managed.things.package import Package


def firmware(settings: HostSettings, known: Distribution) -> Package:
    """Return the firmware package with floor and known-bad versions of the inventory or the distribution."""
    bad, floor = settings.gpu_stack_firmware_known_bad, settings.gpu_stack_firmware_floor
    name = known.firmware.package
    return Package(
        id=f"gpu_stack:{name}",
        name=name,
        floor=known.firmware.floor if floor is None else floor,
        known_bad=known.firmware.known_bad if bad is None else tuple(bad),
        release=apt_release(known, source_of(settings.gpu_stack_firmware_from, known.firmware.auto)),
    )
