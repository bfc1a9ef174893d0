"""What a provision will meet on a host: why it would fail, what it needs, and about how long it takes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from strixfleet.findings.items import Cost, Difference
from strixfleet.fleet.session import ProbedHost
from strixfleet.managed.llama_cpp.defects import refused_pin
from strixfleet.managed.llama_models.model_store import StoredFile, catalogue
from strixfleet.managed.llama_server.server_files import files_of
from strixfleet.managed.platforms.backends import backend_of
from strixfleet.on_host.questions import Ask, Json, Question


GIB = 1024**3
REBOOT_MIN = 2.0
PACKAGES_MIN = 3.0
DOWNLOAD_BYTES_PER_MIN = 50_000_000 * 60
SMOKE_BENCH_MIN = 1.0

Deeds = Mapping[str, Mapping[str, list[Json]]]


@dataclass(frozen=True, slots=True)
class Forecast:
    """
    What can be known of a provision before it begins.

    `refusals` keep the host from being provisioned, each with its remedy. `packages` are installed where they
    are missing. The size of what comes from the network is not known: `download_bytes` counts what is copied.
    """

    refusals: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    reboots: int = 0
    builds: int = 0
    downloads: int = 0
    download_bytes: int = 0
    minutes: int = 0

    def to_json(self) -> dict[str, Json]:
        """Return the `forecast` of a host in `plan`."""
        return {**asdict(self), "refusals": [*self.refusals], "packages": [*self.packages]}


def forecast(seen: ProbedHost, folder: Path) -> Forecast:
    """Work it out from the deeds that the play would be handed; `folder` is the inventory's."""
    deeds = seen.state.deeds(seen.answers)
    work = [row for row in seen.differences if row.calls_for_provision]
    build = _build(deeds)
    new = [file for file in _files(seen) if _size_on_host(file, seen) is None]
    packages = tuple(_packages(deeds, build, seen)) if work else ()
    reboots = int(any(row.cost is Cost.REBOOT for row in work))
    copied = sum(_size_here(file, folder) or 0 for file in new)
    bad_pin = refused_pin(seen.differences) if build else ()
    refusals = (*_problems(deeds), *bad_pin, *_disk(build), *_models(seen, new, folder))
    build_min = backend_of(seen.state.host.settings.llama_cpp_backend).build_min if build else 0.0
    return Forecast(
        refusals=tuple(dict.fromkeys(refusals)),
        packages=packages,
        reboots=reboots,
        builds=int(build is not None),
        downloads=len([file for file in new if file.in_store]),
        download_bytes=copied,
        minutes=_minutes(work, build_min, copied, reboots),
    )


def _build(deeds: Deeds) -> Mapping[str, Json] | None:
    """Return the deed of a build that `provision` makes."""
    found = deeds.get("llama_cpp", {}).get("build", [])
    return next((one for one in found if isinstance(one, dict) and one["install"]), None)


def _problems(deeds: Deeds) -> Iterator[str]:
    for kinds in deeds.values():
        for one in kinds.get("problem", []):
            if isinstance(one, dict):
                yield str(one["text"])


def _disk(build: Mapping[str, Json] | None) -> Iterator[str]:
    if build is None:
        return
    free, needed = build["free_disk_bytes"], build["needed_disk_bytes"]
    if isinstance(free, int) and isinstance(needed, int) and free < needed:
        text = f"{free / GIB:.1f} GiB are free below /opt or /var/lib, a build takes {needed / GIB:.1f} GiB"
        yield f"{text}: free some space, or grow the file system"


def _models(seen: ProbedHost, new: Iterable[StoredFile], folder: Path) -> Iterator[str]:
    """Name files that are not where the inventory says, and models that no memory of the host holds."""
    for file in new:
        if file.origin == "host_path":
            yield f"{file.path} is not on this host: put it there, or give the model another source"
        if file.origin == "path" and _size_here(file, folder) is None:
            yield f"{file.source} is not on this controller: give the model another source"
    machine, settings = seen.state.machine, seen.state.host.settings
    memory_gib = machine.visible_gib + machine.carve_out_gib
    if machine.simulated or not memory_gib:
        return
    models = catalogue(settings.llama_models)
    for instance in settings.llama_server_instances:
        sizes = (
            _size_on_host(file, seen) or _size_here(file, folder) or 0 for file in files_of(instance, models)
        )
        size_gib = sum(sizes) / GIB
        if size_gib > memory_gib:
            yield (
                f"instance {instance.name} reads {size_gib:.0f} GiB of models, "
                f"and this machine has {memory_gib} GiB of memory: serve a smaller file"
            )


def _files(seen: ProbedHost) -> Iterator[StoredFile]:
    for group in catalogue(seen.state.host.settings.llama_models).values():
        yield from group


def _size_on_host(file: StoredFile, seen: ProbedHost) -> int | None:
    """Return the size of a file on the host; -1 where it cannot be known."""
    answer = seen.answers[Question(Ask.STAT, file.path)]
    if answer.error is not None:
        return -1
    size = answer.value.get("size_bytes") if isinstance(answer.value, dict) else None
    return size if isinstance(size, int) else None


def _size_here(file: StoredFile, folder: Path) -> int | None:
    """Return the size of a file on the controller."""
    if file.origin != "path":
        return None
    try:
        return (folder / Path(file.source).expanduser()).stat().st_size
    except OSError:
        return None


def _packages(deeds: Deeds, build: Mapping[str, Json] | None, seen: ProbedHost) -> Iterator[str]:
    """Name packages that are not installed, and those of the build, which nothing has asked for."""
    found: dict[str, None] = {}
    for kinds in deeds.values():
        for one in kinds.get("package", []):
            name = str(one["name"]) if isinstance(one, dict) else ""
            answer = seen.answers[Question(Ask.PACKAGE, name)]
            if answer.value is None and answer.error is None:
                found[name] = None
    listed = build["packages"] if build else []
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict):
            found[str(one["name"])] = None
    yield from found


def _minutes(work: Iterable[Difference], build_min: float, copied_bytes: int, reboots: int) -> int:
    if not list(work):
        return 0
    spent = SMOKE_BENCH_MIN + reboots * REBOOT_MIN + copied_bytes / DOWNLOAD_BYTES_PER_MIN
    return max(1, round(spent + build_min + (PACKAGES_MIN if build_min else 0.0)))
