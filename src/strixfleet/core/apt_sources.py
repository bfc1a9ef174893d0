"""The apt sources of a machine, as sources.list(5) writes them: what they offer and what is missing."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


KEYRINGS = {
    "debian": "/usr/share/keyrings/debian-archive-keyring.gpg",
    "ubuntu": "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
}


@dataclass(frozen=True, slots=True)
class Source:
    """One stanza, or one line of the old form; only those with binary packages are kept."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""


@dataclass(frozen=True, slots=True)
class Missing:
    """A suite with the components that no source offers yet."""

    suite: str
    components: tuple[str, ...]


def _stanza_fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in {" ", "\t"} and name:
            fields[name] = f"{fields[name]}\n{line.strip()}".strip()
        elif ":" in line:
            name, value = line.split(":", 1)
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def parse_deb822(text: str) -> tuple[Source, ...]:
    """Read a `.sources` file; stanzas that are switched off offer nothing."""
    found = []
    for stanza in re.split(r"\n[ \t]*\n", text):
        fields = _stanza_fields(stanza)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in {
            "no",
            "off",
        }:
            continue
        signed_by = fields.get("signed-by", "")
        found.append(
            Source(
                tuple(fields.get("uris", "").split()),
                tuple(fields.get("suites", "").split()),
                tuple(fields.get("components", "").split()),
                signed_by if signed_by.startswith("/") else "",
            )
        )
    return tuple(found)


def parse_list(text: str) -> tuple[Source, ...]:
    """Read a file of the one-line form."""
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*([^#]*)", line)
        if match:
            options = dict(word.split("=", 1) for word in (match[1] or "").split() if "=" in word)
            signed_by = options.get("signed-by", "")
            found.append(Source((match[2],), (match[3],), tuple(match[4].split()), signed_by))
    return tuple(found)


def parse_sources(texts: Mapping[str, str]) -> tuple[Source, ...]:
    """Read {path: text} of all source files."""
    found: list[Source] = []
    for path, text in sorted(texts.items()):
        found.extend(parse_deb822(text) if path.endswith(".sources") else parse_list(text))
    return tuple(found)


def mirror_of(sources: Iterable[Source], suite: str, os_id: str) -> Source | None:
    """Give the machine's own mirror: the source that offers `main` of a suite, with its keyring."""
    for source in sources:
        if suite in source.suites and "main" in source.components and source.uris:
            signed_by = source.signed_by or KEYRINGS.get(os_id, "")
            return Source(source.uris, (suite,), ("main",), signed_by)
    return None


def missing_of(sources: Iterable[Source], wanted: Iterable[tuple[str, Iterable[str]]]) -> tuple[Missing, ...]:
    """Say what no source offers of [(suite, components), …]; each suite once, in the order given."""
    offered = {
        (suite, component) for source in sources for suite in source.suites for component in source.components
    }
    lacking: dict[str, list[str]] = {}
    for suite, components in wanted:
        for component in components:
            row = lacking.setdefault(suite, [])
            if (suite, component) not in offered and component not in row:
                row.append(component)
    return tuple(Missing(suite, tuple(row)) for suite, row in lacking.items() if row)
