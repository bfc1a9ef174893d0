"""What each distribution calls the parts of the GPU stack, where it has them, which versions are accepted."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite of the archive and the components that are needed of it."""

    suite: str
    components: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KernelParts:
    """The kernel's package by source, how its releases are named, and the oldest accepted by flavour."""

    auto: str
    packages: Mapping[str, str]
    floors: Mapping[str, str]
    own: str
    known_bad: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FirmwareParts:
    """The firmware's package and the dates accepted."""

    auto: str
    package: str
    floor: str
    known_bad: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MesaParts:
    """Mesa's packages; the floor is that of the first."""

    auto: str
    floor: str
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RocmParts:
    """ROCm's user space; `missing` says why there is none."""

    packages: tuple[str, ...]
    missing: str | None


@dataclass(frozen=True, slots=True)
class TunedParts:
    """What tuned's own profiles set, and where others go."""

    sets_platform_profile: bool
    profiles: str


@dataclass(frozen=True, slots=True)
class Distribution:
    """One release of a distribution; `tried` says whether this project has run on it."""

    label: str
    tried: bool
    base_suite: str
    suites: Mapping[str, Suite]
    kernel: KernelParts
    firmware: FirmwareParts
    mesa: MesaParts
    rocm: RocmParts
    tuned: TunedParts


@cache
def _table() -> Mapping[str, Distribution]:
    text = files("strixfleet.managed.platforms").joinpath("distributions.yml").read_text(encoding="utf-8")
    return {
        key: Distribution(
            row["label"],
            row["tried"],
            row["base_suite"],
            {name: Suite(one["suite"], tuple(one["components"])) for name, one in row["suites"].items()},
            KernelParts(**{**row["kernel"], "known_bad": tuple(row["kernel"]["known_bad"])}),
            FirmwareParts(**{**row["firmware"], "known_bad": tuple(row["firmware"]["known_bad"])}),
            MesaParts(**{**row["mesa"], "packages": tuple(row["mesa"]["packages"])}),
            RocmParts(tuple(row["rocm"]["packages"]), row["rocm"]["missing"]),
            TunedParts(**row["tuned"]),
        )
        for key, row in yaml.safe_load(text).items()
    }


def distribution(os_id: str, os_version: str) -> Distribution | None:
    """Return what is known of a release by ID and VERSION_ID of /etc/os-release; None where nothing is."""
    return _table().get(f"{os_id}-{os_version}")


def known_distributions() -> tuple[str, ...]:
    """Name the releases that are known."""
    return tuple(one.label for one in _table().values())


def release_keys() -> tuple[tuple[str, str], ...]:
    """Return ID and VERSION_ID of the releases that are known."""
    return tuple((key.rpartition("-")[0], key.rpartition("-")[2]) for key in _table())


def source_of(choice: str, auto: str) -> str:
    """Return the source that a choice of the inventory leads to."""
    return auto if choice == "auto" else choice


def apt_release(known: Distribution, source: str) -> str | None:
    """Return what `apt-get -t` has to be told: backports are taken only when they are asked for."""
    return known.suites[source].suite if source == "backports" else None
