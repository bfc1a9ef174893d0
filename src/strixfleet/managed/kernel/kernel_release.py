"""Kernel releases, ordered with the ABI number by which Ubuntu tells its backported fixes apart."""

import re
from collections.abc import Iterable, Mapping


def release_key(release: str) -> tuple[tuple[int, ...], int]:
    """
    Return the sort key: `6.17.0-19-generic` is ((6, 17, 0), 19), `6.18.9+deb14-amd64` ((6, 18, 9), 0).

    The number after the dash counts only where a dash or the end follows it, as in Ubuntu's releases.
    """
    match = re.match(r"(\d{1,9}(?:\.\d{1,9})*)(?:-(\d{1,9})(?=[-.~]|$))?", release)
    if not match:
        return (), 0
    return tuple(int(part) for part in match[1].split(".")), int(match[2] or 0)


def at_least(release: str, floor: str) -> bool:
    """Tell whether a release is not older than a floor; what has no number is older than all."""
    key = release_key(release)
    return bool(key[0]) and key >= release_key(floor)


def newest(releases: Iterable[str]) -> str | None:
    """Return the newest release, the one that GRUB boots by default."""
    return max(releases, key=release_key, default=None)


def installed(names: Iterable[object]) -> tuple[str, ...]:
    """
    Return the releases that could boot, of the names in /boot.

    dpkg unpacks a kernel before its scripts make the initrd; cut in between, GRUB lists what cannot boot.
    """
    there = {name for name in names if isinstance(name, str)}
    found = (name.removeprefix("vmlinuz-") for name in there if name.startswith("vmlinuz-"))
    return tuple(sorted(release for release in found if f"initrd.img-{release}" in there))


def flavour(release: str) -> str:
    """Return the word after the last dash."""
    return release.rpartition("-")[2]


def has_fix(release: str, floors: Mapping[str, str]) -> bool:
    """
    Tell whether a release is not older than the default floor, or its flavour's line has the fix backported.

    A backport says something of its own line alone: 6.14.0-1018-oem has it, 6.17.0-1009-oem need not.
    Ubuntu's mainline builds (6.17.9-061709-generic) are upstream's releases, whatever their number.
    """
    if at_least(release, floors["default"]):
        return True
    backport = floors.get(flavour(release))
    mainline = re.search(r"-0\d{5}-", release)
    same_line = backport and release_key(release)[0] == release_key(backport)[0]
    return bool(backport and same_line and not mainline and at_least(release, backport))


def same_line_or_newer(release: str, other: str) -> bool:
    """Tell whether a release follows another in its own line (6.12) and flavour."""
    line, since = release_key(release), release_key(other)
    return flavour(release) == flavour(other) and line[0][:2] == since[0][:2] and line >= since


def is_known_bad(release: str, known_bad: Iterable[str]) -> bool:
    """Tell whether a release is one of a list: the same, or the same with a flavour or a build after it."""
    return any(re.fullmatch(rf"{re.escape(bad)}(?![0-9.]).*|{re.escape(bad)}", release) for bad in known_bad)
