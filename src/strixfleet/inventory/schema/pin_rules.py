"""What is known against the pinned release of llama.cpp, and what an instance may ask of it."""

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass

from strixfleet.errors import MistakeCode
from strixfleet.inventory.hardware import PROFILES
from strixfleet.inventory.known_defects import Defect, Judgement, Use, judge, tagged_build
from strixfleet.inventory.schema.problems import Problem


FLASH_ATTN_VALUE = 6325  # llama.cpp#15434: --flash-attn became on, off or auto
SPEC_TYPE_NEEDED = 9500  # in May 2026 a draft model alone stopped to speculate; b9172 is of that month


@dataclass(frozen=True, slots=True)
class Release:
    """
    The pin as far as its name tells its age.

    Tags such as v0.3.36 are younger than all that is asked here. A commit tells nothing: what would be a
    mistake under a tag is a warning there.
    """

    pin: str
    number: int | None

    @classmethod
    def of(cls, pin: object) -> "Release | None":
        """Read a pin; None where it is missing or the type refuses it."""
        text = str(pin)
        if (number := tagged_build(text)) is not None:
            return cls(text, number)
        if re.fullmatch(r"v[\d.]+|[0-9a-f]{40}", text):
            return cls(text, None)
        return None

    @property
    def is_commit(self) -> bool:
        """Tell whether the age is not known."""
        return self.number is None and not self.pin.startswith("v")

    def is_at_least(self, number: int) -> bool:
        """Tell whether a feature of release `number` is there; of a commit it is taken to be."""
        return self.number is None or self.number >= number

    @property
    def words(self) -> str:
        """Name it in a message."""
        return f"commit {self.pin[:12]}" if self.is_commit else self.pin


def check_instance(index: int, instance: Mapping[str, object], release: Release) -> Iterator[Problem]:
    """Hold one instance against the release."""
    path = ("llama_server_instances", index)
    given = instance.get("arguments")
    arguments = given if isinstance(given, Mapping) else {}
    yield from _flash_attn((*path, "arguments", "flash-attn"), arguments, release)
    yield from _draft_model((*path, "draft_model"), instance, arguments, release)


def _flash_attn(
    path: tuple[str | int, ...], arguments: Mapping[object, object], release: Release
) -> Iterator[Problem]:
    if "flash-attn" not in arguments:
        return
    bare = arguments["flash-attn"] is None
    needs_value = release.is_at_least(FLASH_ATTN_VALUE)
    if bare and needs_value:
        message = f"{release.words} wants a value: since b{FLASH_ATTN_VALUE} it is not a bare flag"
        yield Problem(path, message, 'write "on", "off" or "auto"', warning=release.is_commit)
    if not bare and not needs_value:
        message = f"{release.words} takes no value: before b{FLASH_ATTN_VALUE} it is a bare flag"
        yield Problem(path, message, "write flash-attn: null")


def _draft_model(
    path: tuple[str | int, ...],
    instance: Mapping[str, object],
    arguments: Mapping[object, object],
    release: Release,
) -> Iterator[Problem]:
    if instance.get("draft_model") is None or "spec-type" in arguments:
        return
    if release.is_at_least(SPEC_TYPE_NEEDED):
        yield Problem(
            path,
            f"{release.words} does not use it without a `spec-type`",
            "add `spec-type: draft-simple` to its arguments, or the type that the file is made for",
            warning=release.is_commit,
        )


def check_defects(
    values: Mapping[str, object], build: int | None, accepted: Container[str]
) -> Iterator[Problem]:
    """Hold a build against the known defects on a host; `accepted` are items of its waivers."""
    if build is None:
        return
    profile = PROFILES.get(str(values.get("hardware_profile")))
    gpus = {profile.gfx} if profile else {one.gfx for one in PROFILES.values()}
    backend, options = str(values.get("llama_cpp_backend") or "vulkan"), frozenset(_options(values))
    judged = [judge(build, Use(backend, gpu, options)) for gpu in sorted(gpus)]
    for defect, judgement in {one: found for found in judged for one in found.defects}.items():
        if defect.item not in accepted:
            everywhere = all(defect in found.defects for found in judged)
            yield _defect(defect, judgement, everywhere=everywhere)


def _options(values: Mapping[str, object]) -> Iterator[str]:
    """Name the options of all instances that are well formed."""
    found = values.get("llama_server_instances")
    for instance in found if isinstance(found, list | tuple) else ():
        arguments = instance.get("arguments") if isinstance(instance, Mapping) else None
        if isinstance(arguments, Mapping):
            yield from map(str, arguments)


def _defect(defect: Defect, judgement: Judgement, *, everywhere: bool) -> Problem:
    where = "" if everywhere else f" on {' and '.join(defect.gpus)}"
    return Problem(
        ("llama_cpp_ref",),
        judgement.sentence(defect, f"b{judgement.build}{where}"),
        judgement.remedy(defect),
        warning=not (defect.refuses and everywhere),
        code=MistakeCode.KNOWN_DEFECT,
    )
