"""The apt sources of a machine, as sources.list(5) writes them: what they offer and what is missing."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from strixfleet.on_host.questions import Answers, Ask, Question


LIST = Question(Ask.READ, "/etc/apt/sources.list")
FOLDER = "/etc/apt/sources.list.d"
PARTS = tuple(Question(Ask.GLOB, f"{FOLDER}/*.{kind}") for kind in ("list", "sources"))
KEYRINGS = {
    "debian": "/usr/share/keyrings/debian-archive-keyring.gpg",
    "ubuntu": "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
}
SOURCES_FILE = f"{FOLDER}/strixfleet.sources"
OUR_TAILSCALE = f"{FOLDER}/strixfleet-tailscale.sources"
# Where two sources of one URI and suite say these otherwise, apt refuses all (apt-pkg/deb/debmetaindex.cc).
COMPARED = (
    "trusted",
    "check-valid-until",
    "valid-until-min",
    "valid-until-max",
    "check-date",
    "date-max-future",
    "snapshot",
)
# These, too, but only files of the one-line form can say them (apt 2.6, tried): what has them is not copied.
UNCOPIED = ("inrelease-path", "allow-insecure", "allow-weak", "allow-downgrade-to-insecure")


@dataclass(frozen=True, slots=True)
class Source:
    """
    One stanza, or one line of the old form; only those with binary packages are kept.

    `signed_by` is a path, fingerprints or a whole key, `options` are those of COMPARED and UNCOPIED: apt
    refuses all its sources where two of one URI and suite say them otherwise.
    """

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""
    options: tuple[tuple[str, str], ...] = ()


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


def _compared(options: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, options[name]) for name in (*COMPARED, *UNCOPIED) if options.get(name))


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
        found.append(
            Source(
                tuple(fields.get("uris", "").split()),
                tuple(fields.get("suites", "").split()),
                tuple(fields.get("components", "").split()),
                fields.get("signed-by", ""),
                _compared(fields),
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
            options = {name.lower(): value for name, value in options.items()}
            place = ((match[2],), (match[3],), tuple(match[4].split()))
            found.append(Source(*place, options.get("signed-by", ""), _compared(options)))
    return tuple(found)


def parse_sources(texts: Mapping[str, str]) -> tuple[Source, ...]:
    """Read {path: text} of all source files."""
    found: list[Source] = []
    for path, text in sorted(texts.items()):
        found.extend(parse_deb822(text) if path.endswith(".sources") else parse_list(text))
    return tuple(found)


def sources_of(answers: Answers) -> tuple[Source, ...]:
    """Read all sources of a host but the files of ours."""
    texts = {LIST.subject: answers.text(LIST.verb, LIST.subject) or ""}
    for question in PARTS:
        texts |= answers.texts(question.subject)
    return parse_sources(
        {path: text for path, text in texts.items() if path not in {SOURCES_FILE, OUR_TAILSCALE}}
    )


def contradicting(answers: Answers) -> bool:
    """Tell whether our source for Tailscale stands beside one of the host's own: apt refuses both."""
    others = sources_of(answers)
    ours = parse_deb822(answers.texts(PARTS[1].subject).get(OUR_TAILSCALE, ""))
    return any(offers(others, uri, suite) for one in ours for uri in one.uris for suite in one.suites)


def _plain(uris: Iterable[str]) -> set[str]:
    return {uri.rstrip("/") for uri in uris}


def mirror_of(sources: Iterable[Source], suite: str, os_id: str) -> Source | None:
    """
    Return the machine's own mirror: the source that offers `main` of a suite, with its keyring.

    Vendors name their suites like the distribution's, and may end their address in its name; a mirror has
    `-updates`, too, or at least an address that ends in the distribution's name. None where there is none, or
    where its options cannot be copied.
    """
    sources = tuple(sources)

    def likeness(one: Source) -> tuple[bool, bool]:
        updates = any(offers(sources, uri, f"{suite}-updates") for uri in one.uris)
        return updates, any(uri.rpartition("/")[2].startswith(os_id) for uri in _plain(one.uris))

    found = [one for one in sources if suite in one.suites and "main" in one.components and one.uris]
    if not found:
        return None
    source = max(found, key=likeness)
    alike = (one for one in sources if _plain(one.uris) & _plain(source.uris))
    if any(name in UNCOPIED for one in alike for name, _ in one.options):
        return None
    keyring = "" if dict(source.options).get("trusted") else KEYRINGS.get(os_id, "")
    return Source(source.uris, (suite,), ("main",), source.signed_by or keyring, source.options)


def offers(sources: Iterable[Source], uri: str, suite: str) -> bool:
    """Tell whether a source is there already, whatever key it names."""
    return any(suite in one.suites and _plain([uri]) & _plain(one.uris) for one in sources)


def added(missing: Iterable[Missing], sources: Iterable[Source], mirror: Source) -> tuple[Source, ...]:
    """Return what to add for what is missing; where the mirror offers that suite already, said like there."""
    known = [one for one in sources if _plain(one.uris) & _plain(mirror.uris)]
    found = []
    for one in missing:
        source = next((other for other in known if one.suite in other.suites), mirror)
        found.append(replace(source, suites=(one.suite,), components=one.components))
    return tuple(found)


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
