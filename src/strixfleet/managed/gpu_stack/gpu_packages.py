"""Which packages and suites a backend needs on a distribution, as the inventory chooses."""

from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.platforms.distributions import Distribution
from strixfleet.managed.things.package import PackageWish


def source_of(choice: str, auto: str) -> str:
    """Return the source that a choice of the inventory leads to."""
    return auto if choice == "auto" else choice


def _release(known: Distribution, source: str) -> str | None:
    """Return what apt has to be told: backports are taken only when they are asked for."""
    return known.suites[source].suite if source == "backports" else None


def package_wishes(settings: HostSettings, known: Distribution) -> tuple[PackageWish, ...]:
    """Settle the packages of a backend; the CPU needs none."""
    backend = settings.llama_cpp_backend
    if backend == "cpu":
        return ()
    bad, floor = settings.gpu_stack_firmware_known_bad, settings.gpu_stack_firmware_floor
    firmware = PackageWish(
        known.firmware.package,
        known.firmware.floor if floor is None else floor,
        known.firmware.known_bad if bad is None else tuple(bad),
        _release(known, source_of(settings.gpu_stack_firmware_from, known.firmware.auto)),
    )
    if backend == "rocm":
        return (firmware, *(PackageWish(name) for name in known.rocm.packages))
    release = _release(known, source_of(settings.gpu_stack_mesa_from, known.mesa.auto))
    mesa_floor = settings.gpu_stack_mesa_floor or known.mesa.floor
    first, *others = known.mesa.packages
    mesa = PackageWish(first, mesa_floor, release=release)
    return (firmware, mesa, *(PackageWish(name, release=release) for name in others))


def wanted_suites(settings: HostSettings, known: Distribution) -> dict[str, tuple[str, ...]]:
    """Return the suites that the choices lead to, whatever is installed: a second run wants the same."""
    chosen = {"distribution"} if settings.llama_cpp_backend != "cpu" else set()
    if chosen:
        chosen.add(source_of(settings.gpu_stack_kernel_from, known.kernel.auto))
        chosen.add(source_of(settings.gpu_stack_firmware_from, known.firmware.auto))
        chosen.add(source_of(settings.gpu_stack_mesa_from, known.mesa.auto))
    rows = (known.suites[name] for name in sorted(chosen, reverse=True) if name in known.suites)
    return {row.suite: row.components for row in rows}
