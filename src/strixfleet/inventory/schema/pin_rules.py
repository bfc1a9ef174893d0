"""What an instance may ask of the release of llama.cpp that the inventory pins."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

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
        if numbered := re.fullmatch(r"b(\d{1,9})", text):
            return cls(text, int(numbered[1]))
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
