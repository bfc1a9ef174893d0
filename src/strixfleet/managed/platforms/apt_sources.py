"""The apt sources of a machine, as apt itself lists them: what they offer and what is missing."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from email.parser import HeaderParser

from strixfleet.managed.platforms.distributions import Suite
from strixfleet.on_host.questions import Answers, Ask, Json, Question


TARGETS = Question(Ask.RUN, "apt_targets")
LIST = Question(Ask.READ, "/etc/apt/sources.list")
FOLDER = "/etc/apt/sources.list.d"
PARTS = tuple(Question(Ask.GLOB, f"{FOLDER}/*.{kind}") for kind in ("list", "sources"))
KEYRINGS = {
    "debian": "/usr/share/keyrings/debian-archive-keyring.gpg",
    "ubuntu": "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
}
SOURCES_FILE = f"{FOLDER}/strixfleet.sources"
OUR_TAILSCALE = f"{FOLDER}/strixfleet-tailscale.sources"
OURS = (SOURCES_FILE, OUR_TAILSCALE)
SOURCES = (TARGETS, LIST, *PARTS)
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
UNREAD = "unread"  # stands for options that could not be read
# These, too, but only files of the one-line form can say them (apt 2.6, tried): what has them is not copied.
UNCOPIED = (UNREAD, "inrelease-path", "allow-insecure", "allow-weak", "allow-downgrade-to-insecure")


@dataclass(frozen=True, slots=True)
class Source:
    """
    One entry with binary packages: a stanza, or a line of the old form. No address ends in a slash.

    `signed_by` is a path, fingerprints or a whole key, `options` are those of COMPARED and UNCOPIED: apt
    refuses all its sources where two of one URI and suite say them otherwise.
    """

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""
    options: tuple[tuple[str, str], ...] = ()


def sources_of(answers: Answers) -> tuple[Source, ...]:
    """Return what apt lists as the host's sources, without our own files; nothing where apt refuses them."""
    texts = _texts(answers)
    entries: dict[str, list[tuple[str, str, str]]] = {}
    for line in (answers.text(TARGETS.verb, TARGETS.subject) or "").splitlines():
        target = re.fullmatch(r"(.+)\t(.+)\t(.+)\t((.+):[1-9][0-9]{0,5})", line)
        if target is None:
            continue
        uri, suite, component, entry, file = target.groups()
        if file not in OURS and not uri.startswith("cdrom:"):
            entries.setdefault(entry, []).append((uri.rstrip("/"), suite, component))
    return tuple(_source(targets, _entry_options(entry, texts)) for entry, targets in entries.items())


def _texts(answers: Answers) -> dict[str, str]:
    """Return the content of all source files, unstripped: apt counts their lines."""
    found: dict[str, Json] = {LIST.subject: answers[LIST].value}
    for question in PARTS:
        value = answers[question].value
        found |= value if isinstance(value, dict) else {}
    return {path: text for path, text in found.items() if isinstance(text, str)}


def _source(targets: Iterable[tuple[str, str, str]], options: Mapping[str, str]) -> Source:
    """Return one entry, of which apt lists every combination of address, suite and component."""
    uris, suites, components = (tuple(dict.fromkeys(column)) for column in zip(*targets, strict=True))
    copied = tuple((name, options[name]) for name in (*COMPARED, *UNCOPIED) if options.get(name))
    return Source(uris, suites, components, options.get("signed-by", ""), copied)


def _entry_options(entry: str, texts: Mapping[str, str]) -> dict[str, str]:
    """
    Return the options of an entry, which apt names FILE:NUMBER: a stanza of a .sources file, else a line.

    They are read from the file because apt does not list them (2.6, tried). Names are in small letters.
    """
    path, _, number = entry.rpartition(":")
    text = texts.get(path, "")
    entries = _stanzas(text) if path.endswith(".sources") else text.split("\n")
    if int(number) > len(entries):
        return {UNREAD: "yes"}
    said = entries[int(number) - 1]
    if path.endswith(".sources"):
        fields = HeaderParser().parsestr(said).items()
        return {name.lower(): re.sub(r"\n[ \t]+", "\n", value).strip() for name, value in fields}
    brackets = re.search(r"\[(.*?)\]", said)
    words = (word.partition("=") for word in (brackets[1] if brackets else "").split())
    return {name.lower(): value for name, _, value in words}


def _stanzas(text: str) -> list[str]:
    """Return the stanzas as apt counts them: comments are none, a line of blanks separates none."""
    plain = re.sub(r"^#.*\n?", "", text, flags=re.MULTILINE)
    return [stanza for stanza in re.split(r"\n{2,}", plain.strip("\n")) if stanza]


def contradicting(answers: Answers) -> tuple[str, ...]:
    """Return the files of ours that contradict another source, because of which apt refuses them all."""
    refused = re.search(r"regarding source (\S+?)/? ", answers[TARGETS].error or "")
    texts = _texts(answers)
    return tuple(path for path in OURS if refused and refused[1] in texts.get(path, ""))


def _same_place(sources: Iterable[Source], source: Source) -> Iterator[Source]:
    return (one for one in sources if set(one.uris) & set(source.uris))


def mirror_of(sources: Iterable[Source], suite: str, os_id: str) -> Source | None:
    """
    Return the machine's mirror: the source that offers `main` of a suite, with its keyring.

    Vendors name their suites like the distribution's, and some end their address in its name. A mirror has
    `-updates`, too, or at least an address that ends in the distribution's name. None where there is no
    mirror, or where its options cannot be copied.
    """
    sources = tuple(sources)

    def likeness(one: Source) -> tuple[bool, bool]:
        updates = any(offers(sources, uri, f"{suite}-updates") for uri in one.uris)
        return updates, any(uri.rpartition("/")[2].startswith(os_id) for uri in one.uris)

    found = [one for one in sources if suite in one.suites and "main" in one.components and one.uris]
    if not found:
        return None
    source = max(found, key=likeness)
    if any(name in UNCOPIED for one in _same_place(sources, source) for name, _ in one.options):
        return None
    keyring = "" if dict(source.options).get("trusted") else KEYRINGS.get(os_id, "")
    return Source(source.uris, (suite,), ("main",), source.signed_by or keyring, source.options)


def no_mirror(answers: Answers, suite: str) -> str:
    """Say why there is no mirror to copy, and what to do."""
    if error := answers[TARGETS].error:
        return f"apt cannot read its sources: {error}; hint: mend the source that `apt-get update` names"
    return (
        f"no apt source of this host that can be copied offers {suite} main (one with allow-insecure or the "
        "like cannot); hint: restore its mirror, or let it offer what is missing"
    )


def offers(sources: Iterable[Source], uri: str, suite: str) -> bool:
    """Tell whether a repository is among the sources already, whatever key it names."""
    return any(suite in one.suites and uri.rstrip("/") in one.uris for one in sources)


def added(missing: Iterable[Suite], sources: Iterable[Source], mirror: Source) -> tuple[Source, ...]:
    """Return the entries to add; a suite that the mirror offers already gets the options it has there."""
    known = list(_same_place(sources, mirror))
    found = []
    for one in missing:
        source = next((other for other in known if one.suite in other.suites), mirror)
        found.append(replace(source, suites=(one.suite,), components=one.components))
    return tuple(found)


def missing_of(sources: Iterable[Source], wanted: Iterable[tuple[str, Iterable[str]]]) -> tuple[Suite, ...]:
    """Return what no source offers of [(suite, components), …]: each suite once, in the order given."""
    offered = {
        (suite, component) for source in sources for suite in source.suites for component in source.components
    }
    lacking: dict[str, list[str]] = {}
    for suite, components in wanted:
        for component in components:
            row = lacking.setdefault(suite, [])
            if (suite, component) not in offered and component not in row:
                row.append(component)
    return tuple(Suite(suite, tuple(row)) for suite, row in lacking.items() if row)
