"""A build of llama.cpp as data: what goes in, the identity that follows, and the manifest that comes out."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from strixfleet.inventory.schema.settings import LLAMA_CPP_REPOSITORY
from strixfleet.managed.host_documents import json_map
from strixfleet.managed.platforms.backends import backend_of
from strixfleet.on_host.questions import Answers, Ask, Json, Question
from strixfleet.on_host.switch.option_aliases import OPTIONS


BUILDS = "/opt/strixfleet/llama.cpp"
CURRENT = Question(Ask.LINK, f"{BUILDS}/current")
MANIFEST = Question(Ask.READ, f"{BUILDS}/current/manifest.json")
COMMIT_CHARS_IN_ID = 12
BUILD_ID = re.compile(r"[a-z0-9.]+-[a-z]+-[0-9a-f]{8}\Z")
COMMON_DEFINITIONS: Mapping[str, str] = {
    "BUILD_SHARED_LIBS": "ON",
    "CMAKE_BUILD_TYPE": "Release",
    "CMAKE_BUILD_WITH_INSTALL_RPATH": "ON",
    "CMAKE_INSTALL_RPATH": "$ORIGIN/../lib",
    "GGML_CCACHE": "ON",
    "GGML_NATIVE": "ON",
    "GGML_RPC": "OFF",  # rpc-server is open to remote code execution: CVE-2026-34159, llama.cpp #25289
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
}
# Given to those pins whose tree knows one of the names; the first known one is used.
# Without them a build downloads its web pages, or needs npm or libcurl: llama.cpp #23156, #28928, #18828.
OFFLINE_DEFINITIONS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("LLAMA_BUILD_APP",), "OFF"),
    (("LLAMA_BUILD_UI", "LLAMA_BUILD_WEBUI"), "OFF"),
    (("LLAMA_USE_PREBUILT_UI", "LLAMA_USE_PREBUILT_WEBUI"), "OFF"),
    (("LLAMA_CURL",), "OFF"),
)
COMMON_PACKAGES = (
    "build-essential",
    "ca-certificates",
    "ccache",
    "cmake",
    "git",
    "libssl-dev",
    "ninja-build",
)


@dataclass(frozen=True, slots=True)
class Pinned:
    """What is to be built: a tag or a commit of a repository."""

    repository: str
    ref: str


@dataclass(frozen=True, slots=True)
class Build:
    """
    What goes into a build.

    `toolchain` is the system's name and version, known before any package is. `strict` names the definitions
    that the source must know: an ignored one would silently build something else.
    """

    repository: str
    ref: str
    backend: str
    definitions: Mapping[str, str]
    toolchain: str
    strict: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Name of the build's folder: same ingredients, same name."""
        ingredients = {
            "backend": self.backend,
            "definitions": dict(self.definitions),
            "offline": [[list(names), value] for names, value in OFFLINE_DEFINITIONS],
            "ref": self.ref,
            "toolchain": self.toolchain,
        }
        if not same_repository(self.repository, LLAMA_CPP_REPOSITORY):  # builds of upstream keep their names
            ingredients["repository"] = plain_address(self.repository)
        text = json.dumps(ingredients, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(text.encode()).hexdigest()
        short = self.ref[:COMMIT_CHARS_IN_ID] if re.fullmatch(r"[0-9a-f]{40}", self.ref) else self.ref
        return f"{short}-{self.backend}-{digest[:8]}"

    @property
    def path(self) -> str:
        """The build's folder on the host."""
        return f"{BUILDS}/{self.id}"

    @property
    def packages(self) -> tuple[str, ...]:
        """The Debian packages that compiling takes; running takes none of them."""
        return tuple(sorted((*COMMON_PACKAGES, *backend_of(self.backend).build_packages)))


def plain_address(repository: str) -> str:
    """Return the address in the form in which two of one repository are equal."""
    return repository.rstrip("/").removesuffix(".git")


def same_repository(one: str, other: str) -> bool:
    """Tell whether two addresses name the same repository."""
    return plain_address(one) == plain_address(other)


def plan_build(
    pin: Pinned,
    backend: str,
    extra: Mapping[str, str | None],
    *,
    gfx: str | None,
    toolchain: str,
) -> Build:
    """Settle the CMake definitions: ours, the backend's, then the inventory's, which win; None drops one."""
    chosen = backend_of(backend)
    definitions = dict(COMMON_DEFINITIONS) | dict(chosen.definitions)
    if chosen.target_definition and gfx:
        definitions[chosen.target_definition] = gfx
    for name, value in extra.items():
        if value is None:
            definitions.pop(name, None)
        else:
            definitions[name] = value
    target = [chosen.target_definition] if chosen.target_definition else []
    strict = {*chosen.definitions, *extra, *target} & definitions.keys()
    ordered = dict(sorted(definitions.items()))
    return Build(pin.repository, pin.ref, backend, ordered, toolchain, tuple(sorted(strict)))


@dataclass(frozen=True, slots=True)
class Manifest:
    """
    What a finished build says of itself.

    `files` maps paths to their SHA-256, or links to "-> target"; `lacks` names shader extensions that its
    glslc did not know. `repository` is empty where it does not say.
    """

    id: str
    ref: str
    commit: str
    backend: str
    definitions: Mapping[str, str]
    files: Mapping[str, str]
    build_number: int
    lacks: frozenset[str] = frozenset()
    repository: str = ""


def current_build(answers: Answers) -> str | None:
    """Return the id of the current build; None where there is none."""
    target = answers[CURRENT].value
    return target.rsplit("/", 1)[-1] if isinstance(target, str) else None


def _text_map(value: Json) -> dict[str, str] | None:
    if not isinstance(value, dict):
        return None
    found = {key: text for key, text in value.items() if isinstance(text, str)}
    return found if len(found) == len(value) else None


def other_backend(manifest: "Manifest | None", build: Build) -> str:
    """Say why a build is no upgrade of the current one: units, devices and packages go by the backend."""
    if manifest is None or manifest.backend == build.backend:
        return ""
    return (
        f"the current build is for {manifest.backend}, the inventory wants {build.backend}, and an upgrade "
        "keeps the backend; hint: `rm /opt/strixfleet/llama.cpp/current` on the host, then "
        "`strixfleet provision`: what runs goes on serving until the new build is made"
    )


def other_repository(manifest: "Manifest | None", build: Build) -> str:
    """Return the repository that the current build came from; empty where it is the wanted one."""
    if manifest is None or not manifest.repository:
        return ""
    return "" if same_repository(manifest.repository, build.repository) else manifest.repository


def parse_manifest(text: str | None) -> Manifest | None:
    """Read a manifest; None where there is none or it is damaged."""
    data = json_map(text)
    texts = [data.get(name) for name in ("id", "ref", "commit", "backend")]
    definitions, files = _text_map(data.get("definitions")), _text_map(data.get("files"))
    number = data.get("build_number")
    words = [word for word in texts if isinstance(word, str)]
    if len(words) != len(texts) or definitions is None or not files or not isinstance(number, int):
        return None
    features = data.get("shader_features")
    known = features if isinstance(features, dict) else {}
    lacks = frozenset(name for name, present in known.items() if present is False)
    said = data.get("repository")
    repository = said if isinstance(said, str) else ""
    return Manifest(words[0], words[1], words[2], words[3], definitions, files, number, lacks, repository)


def file_differences(manifest: Manifest, tree: Mapping[str, str]) -> dict[str, list[str]]:
    """Name the files of a build that changed, went missing or were added since it was made."""
    present = {path: digest for path, digest in tree.items() if path not in {"manifest.json", OPTIONS}}
    wanted = manifest.files
    rows = {
        "changed": sorted(path for path in wanted if path in present and present[path] != wanted[path]),
        "missing": sorted(wanted.keys() - present.keys()),
        "foreign": sorted(present.keys() - wanted.keys()),
    }
    return {kind: paths for kind, paths in rows.items() if paths}
