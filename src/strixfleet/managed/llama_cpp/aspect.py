"""The llama.cpp build of a host: which one is current, whether it is the pinned one, and untouched."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

from strixfleet.findings.items import Cost, Cure
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.llama_cpp.build import (
    BUILDS,
    CURRENT,
    MANIFEST,
    OFFLINE_DEFINITIONS,
    Build,
    Manifest,
    Pinned,
    current_build,
    file_differences,
    other_backend,
    other_repository,
    parse_manifest,
    plan_build,
)
from strixfleet.managed.llama_cpp.defects import refused_builds
from strixfleet.managed.llama_cpp.host_program import host_program
from strixfleet.managed.llama_cpp.tampering import tampering
from strixfleet.managed.machine import Machine
from strixfleet.managed.platforms.backends import backend_of
from strixfleet.managed.things.file import Folder
from strixfleet.managed.things.thing import Check, Deed, Have, Thing, unread
from strixfleet.on_host.questions import Answers, Ask, Json, Question
from strixfleet.on_host.switch.option_aliases import OPTIONS, foreign_lines


PREVIOUS = Question(Ask.LINK, f"{BUILDS}/previous")
PREVIOUS_MANIFEST = Question(Ask.READ, f"{BUILDS}/previous/manifest.json")
TREE = Question(Ask.TREE, f"{BUILDS}/current")
NAMES = Question(Ask.NAMES, BUILDS)
SPELLING = Question(Ask.READ, f"{BUILDS}/current/{OPTIONS}")
SERVER = Question(Ask.STAT, f"{BUILDS}/current/bin/llama-server")
SPACES = tuple(Question(Ask.SPACE, path) for path in (BUILDS, "/var/lib/strixfleet"))
MEMBW = files("strixfleet.managed.llama_cpp").joinpath("membw.c")
SLOW_SHADERS = "built by a glslc that does not know them: prefill is far slower; install a newer one"
FOREIGN_OPTIONS = "lines that strixfleet did not write; `strixfleet-host spell` writes the file anew"


def manifest_of(answers: Answers) -> Manifest | None:
    """Return what the current build says of itself."""
    return parse_manifest(answers.text(MANIFEST.verb, MANIFEST.subject))


def _files(answers: Answers) -> dict[str, Json]:
    """Return how the current build's files differ from what was built; an empty map is as built."""
    manifest, tree = manifest_of(answers), answers[TREE].value
    if manifest is None:
        return {"missing": ["manifest.json"]}
    found = tree if isinstance(tree, dict) else {}
    digests = {path: digest for path, digest in found.items() if isinstance(digest, str)}
    return {kind: [*paths] for kind, paths in file_differences(manifest, digests).items()}


def installs(build: Build, answers: Answers) -> bool:
    """Tell whether `provision` builds: where no build is current, or the pinned one was damaged."""
    current = current_build(answers)
    if current is None:
        return answers[CURRENT].error is None
    read = answers[MANIFEST].error is None and answers[TREE].error is None
    return read and current == build.id and bool(_files(answers))


@dataclass(frozen=True, kw_only=True)
class CurrentBuild(Thing):
    """The pinned build is current; `upgrade` moves a host that runs another one."""

    build: Build
    refused: tuple[Json, ...] = ()
    build_host: str | None = None
    cost: Cost = Cost.BUILD

    @property
    def want(self) -> Json:
        return self.build.id

    def asks(self) -> Iterator[Question]:
        yield from (CURRENT, MANIFEST, TREE, *SPACES)

    def read(self, answers: Answers) -> Have:
        """Return the current build's id, with its repository where that is another one."""
        cure = Cure.PROVISION if installs(self.build, answers) else Cure.MANUAL
        current, elsewhere = current_build(answers), other_repository(manifest_of(answers), self.build)
        have = f"{current} from {elsewhere}" if current and elsewhere else current
        return Have(have, answers[CURRENT].error, self._why(answers), cure)

    def _why(self, answers: Answers) -> str:
        """Say how the current build differs from the wanted one."""
        current = current_build(answers)
        if current is None:
            return "no build is current"
        manifest = manifest_of(answers)
        if manifest is None:
            return f"{current} is current and has no readable manifest; `strixfleet upgrade` moves the host"
        if other := other_backend(manifest, self.build):
            return other
        have, want = manifest.definitions, self.build.definitions
        pairs = [("pin", manifest.ref, self.build.ref)]
        if elsewhere := other_repository(manifest, self.build):
            pairs.append(("repository", elsewhere, self.build.repository))
        pairs += [(name, have.get(name, "unset"), want.get(name, "unset")) for name in sorted({*have, *want})]
        changes = [f"{what} {old} → {new}" for what, old, new in pairs if old != new]
        return f"{', '.join(changes) or 'another toolchain'}: `strixfleet upgrade` moves the host"

    def recipe(self) -> dict[str, Json]:
        """Return what the module `llama_build` takes."""
        backend = backend_of(self.build.backend)
        asked: dict[str, Json] = {
            name: [[*argv], more] for name, (argv, more) in backend.asked_environment.items()
        }
        return {
            "id": self.build.id,
            "repository": self.build.repository,
            "ref": self.build.ref,
            "backend": self.build.backend,
            "definitions": dict(self.build.definitions),
            "strict": [*self.build.strict],
            "offline": [[[*names], value] for names, value in OFFLINE_DEFINITIONS],
            "compilers": [*backend.compilers],
            "job_bytes": backend.job_bytes,
            "asked_environment": asked,
            "proof": {"library": backend.library, "symbol": backend.symbol} if backend.library else {},
            "membw": MEMBW.read_text(encoding="utf-8"),
            "toolchain": self.build.toolchain,
            "refused": [*self.refused],
        }

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        """Build it; `provision` does where `install` says so, `upgrade` stages it beside the current one."""
        free = [value for one in SPACES if isinstance(value := answers[one].value, int)]
        packages: list[Json] = [{"name": name} for name in self.build.packages]
        yield Deed(
            "build",
            {
                "install": installs(self.build, answers),
                "recipe": self.recipe(),
                "build_host": self.build_host,
                "packages": packages,
                "needed_disk_bytes": backend_of(self.build.backend).needed_disk_bytes,
                "free_disk_bytes": min(free, default=0),
            },
        )


def _untouched(build: Build) -> Check:
    def read(answers: Answers) -> Have:
        error = answers[MANIFEST].error or answers[TREE].error
        cure = Cure.PROVISION if installs(build, answers) else Cure.MANUAL
        if current_build(answers) is None:
            return Have({"missing": ["everything"]}, error, "no build is current", cure)
        return Have(_files(answers), error, cure=cure)

    return Check(
        id="llama_cpp:files",
        wanted={"changed": None, "missing": None, "foreign": None},
        reader=read,
        questions=(MANIFEST, TREE),
        cost=Cost.BUILD,
        message="files differ from what was built here",
    )


def _spelled_options() -> Check:
    def read(answers: Answers) -> Have:
        lines = foreign_lines(answers.text(SPELLING.verb, SPELLING.subject) or "")
        return Have([*lines], answers[SPELLING].error)

    return Check(
        id="llama_cpp:options",
        wanted=[],
        reader=read,
        questions=(SPELLING,),
        cure=Cure.MANUAL,
        message=FOREIGN_OPTIONS,
    )


def _owner(build: Build) -> Check:
    def read(answers: Answers) -> Have:
        row = answers[SERVER].value
        found = {key: row.get(key) for key in ("owner", "mode")} if isinstance(row, dict) else None
        cure = Cure.PROVISION if installs(build, answers) else Cure.MANUAL
        return Have(found, answers[SERVER].error, cure=cure)

    wanted: dict[str, Json] = {"owner": "root", "mode": "0755"}
    message = f"who may change it decides what serves: `chown root:root`, `chmod 0755` {SERVER.subject}"
    return Check(id="llama_cpp:owner", wanted=wanted, reader=read, questions=(SERVER,), message=message)


def _shaders(features: frozenset[str]) -> Check:
    def read(answers: Answers) -> Have:
        manifest = manifest_of(answers)
        missing = sorted(manifest.lacks & features) if manifest else []
        return Have([*missing], answers[MANIFEST].error)

    return Check(
        id="llama_cpp:shaders",
        wanted=[],
        reader=read,
        questions=(MANIFEST,),
        cure=Cure.MANUAL,
        message=SLOW_SHADERS,
    )


def _previous() -> Check:
    def read(answers: Answers) -> Have:
        target = answers[PREVIOUS].value
        error = unread(answers, (PREVIOUS, *([PREVIOUS_MANIFEST] if target is not None else [])))
        manifest = answers.text(PREVIOUS_MANIFEST.verb, PREVIOUS_MANIFEST.subject)
        broken = target is not None and parse_manifest(manifest) is None
        message = f"{target} has no readable manifest" if broken else ""
        return Have({"build": target, "intact": not broken}, error, message)

    return Check(
        id="llama_cpp:previous",
        wanted={"intact": True},
        reader=read,
        questions=(PREVIOUS, PREVIOUS_MANIFEST),
        cure=Cure.MANUAL,
    )


def _leftovers() -> Check:
    def names(answers: Answers) -> list[str]:
        value = answers[NAMES].value
        found = value if isinstance(value, list) else []
        return [name for name in found if isinstance(name, str) and name.startswith(".")]

    def remove(answers: Answers) -> Iterator[Deed]:
        for name in names(answers):
            yield Deed("absent", {"path": f"{BUILDS}/{name}"})

    return Check(
        id="llama_cpp:leftovers",
        wanted=[],
        reader=lambda answers: Have([*names(answers)], answers[NAMES].error),
        questions=(NAMES,),
        message="broken-off builds and switches left these behind",
        steps=remove,
    )


def build_for(settings: HostSettings, machine: Machine) -> Build | None:
    """Return the pinned build; None where the inventory pins nothing."""
    if settings.llama_cpp_ref is None:
        return None
    return plan_build(
        Pinned(settings.llama_cpp_repository, settings.llama_cpp_ref),
        settings.llama_cpp_backend,
        settings.llama_cpp_cmake_arguments,
        gfx=machine.gfx,
        toolchain=f"{machine.os_id} {machine.os_version}",
    )


def llama_cpp(settings: HostSettings, machine: Machine) -> Iterator[Thing]:
    """Return the program on the host, the pinned build current and untouched, the way back intact."""
    for path in (BUILDS, "/var/lib/strixfleet", "/var/cache/strixfleet"):
        yield Folder(id=f"llama_cpp:{path}", path=path)
    yield from host_program()
    yield from tampering()
    build = build_for(settings, machine)
    if build is None:
        message = "llama_cpp_ref is not set in the inventory"
        reader = lambda _answers: Have(None)  # noqa: E731 - nothing to read
        yield Check(id="llama_cpp:pin", wanted="set", reader=reader, cure=Cure.MANUAL, message=message)
        return
    refused = tuple(refused_builds(settings, machine))
    build_host = settings.llama_cpp_build_host
    yield CurrentBuild(id="llama_cpp:current", build=build, refused=refused, build_host=build_host)
    yield _untouched(build)
    yield _spelled_options()
    yield _owner(build)
    if features := backend_of(build.backend).shader_features:
        yield _shaders(features)
    yield _previous()
    yield _leftovers()
