"""The llama.cpp build of a host: which one is current, whether it is the pinned one, and untouched."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import ClassVar, Self

from strixfleet import assets
from strixfleet.findings.items import Cost, Cure, Item, Observed
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.managed.aspect import Situation
from strixfleet.managed.llama_cpp.build import (
    BUILDS,
    NEEDED_DISK_BYTES,
    OFFLINE_DEFINITIONS,
    Build,
    Manifest,
    file_differences,
    other_backend,
    parse_manifest,
    plan_build,
)
from strixfleet.managed.things.file import ManagedFile
from strixfleet.on_host.questions import Answers, Ask, Json, Question
from strixfleet.on_host.switch.option_aliases import OPTIONS, foreign_lines


CURRENT = Question(Ask.LINK, f"{BUILDS}/current")
PREVIOUS = Question(Ask.LINK, f"{BUILDS}/previous")
MANIFEST = Question(Ask.READ, f"{BUILDS}/current/manifest.json")
PREVIOUS_MANIFEST = Question(Ask.READ, f"{BUILDS}/previous/manifest.json")
TREE = Question(Ask.TREE, f"{BUILDS}/current")
NAMES = Question(Ask.NAMES, BUILDS)
SPELLING = Question(Ask.READ, f"{BUILDS}/current/{OPTIONS}")
SERVER = Question(Ask.STAT, f"{BUILDS}/current/bin/llama-server")
MATRIX_SHADERS = "GL_KHR_cooperative_matrix"
SLOW_SHADERS = "built by a glslc that does not know them: prefill is far slower; install a newer one"
FOREIGN_OPTIONS = "what strixfleet did not write; `strixfleet-host spell` writes the file anew"
NO_PIN = "llama_cpp_ref is not set in the inventory"
SPACES = tuple(Question(Ask.SPACE, path) for path in (BUILDS, "/var/lib/strixfleet"))
HOST_PROGRAM = "/opt/strixfleet/lib/strixfleet-host"
HOST_MODULES = "/opt/strixfleet/lib/strixfleet/on_host/switch"
TIMER = "strixfleet-revert.timer"  # takes an unconfirmed build back, whether or not a controller lives
UNIT_FILES = tuple(f"/etc/systemd/system/{name}" for name in ("strixfleet-revert.service", TIMER))
TIMER_STATE = {"UnitFileState": "enabled", "ActiveState": "active"}


def shipped(name: str) -> str:
    """Return the text of a program that is copied to hosts."""
    return files("strixfleet.on_host.switch").joinpath(name).read_text(encoding="utf-8")


def _module_names() -> tuple[str, ...]:
    """Name the modules of the host program, which it finds beside itself."""
    names = (entry.name for entry in files("strixfleet.on_host.switch").iterdir())
    return tuple(sorted(name for name in names if name.endswith(".py") and name != "strixfleet_host.py"))


def current_build(answers: Answers) -> str | None:
    """Return the id of the build that is current."""
    target = answers[CURRENT].value
    return target.rsplit("/", 1)[-1] if isinstance(target, str) else None


def _tree(answers: Answers) -> dict[str, str]:
    value = answers[TREE].value
    found = value if isinstance(value, dict) else {}
    return {path: digest for path, digest in found.items() if isinstance(digest, str)}


def _state(manifest: Manifest | None, answers: Answers) -> dict[str, Json]:
    """Say what is wrong with the current build's files; an empty map is as built."""
    if manifest is None:
        return {"missing": ["manifest.json"]}
    return {kind: list(paths) for kind, paths in file_differences(manifest, _tree(answers)).items()}


def _leftovers(answers: Answers) -> tuple[str, ...]:
    """Name what broken-off builds and switches left behind."""
    value = answers[NAMES].value
    names = value if isinstance(value, list) else []
    return tuple(name for name in names if isinstance(name, str) and name.startswith("."))


def _free_bytes(answers: Answers) -> int:
    values = [answers[question].value for question in SPACES]
    return min((value for value in values if isinstance(value, int)), default=0)


def _observe_timer(answers: Answers) -> Observed:
    answer = answers[Question(Ask.UNIT, TIMER)]
    have = answer.value if isinstance(answer.value, dict) else {}
    return Observed(f"llama_cpp:{TIMER}", {key: have.get(key) for key in TIMER_STATE}, answer.error)


@dataclass(frozen=True, slots=True)
class LlamaCpp:
    """The pinned build of one host; None where the inventory pins nothing."""

    build: Build | None
    repository: str
    install: bool
    free_bytes: int = 0
    leftovers: tuple[str, ...] = ()

    name: ClassVar[str] = "llama_cpp"

    @classmethod
    def questions(cls, host: Host) -> Iterator[Question]:  # noqa: ARG003 - the same for all hosts
        """Ask for links, manifests and the digests of the current build's files."""
        yield from (CURRENT, PREVIOUS, MANIFEST, PREVIOUS_MANIFEST, TREE, NAMES, SPELLING, SERVER, *SPACES)
        yield Question(Ask.DIGEST, HOST_PROGRAM)
        for name in _module_names():
            yield Question(Ask.DIGEST, f"{HOST_MODULES}/{name}")
        yield from (Question(Ask.DIGEST, path) for path in UNIT_FILES)
        yield Question(Ask.UNIT, TIMER)

    @classmethod
    def compile(cls, situation: Situation) -> Self:
        """Settle the build; it is installed where none is current, or where the current one was damaged."""
        settings, facts, answers = situation.host.settings, situation.facts, situation.answers
        if settings.llama_cpp_ref is None:
            return cls(None, settings.llama_cpp_repository, install=False)
        build = plan_build(
            settings.llama_cpp_ref,
            settings.llama_cpp_backend,
            settings.llama_cpp_cmake_arguments,
            gfx=situation.profile.gfx if situation.profile else None,
            toolchain=f"{facts.os_id} {facts.os_version}",
        )
        current = current_build(answers)
        manifest = parse_manifest(answers.text(*_pair(MANIFEST)))
        read = answers[MANIFEST].error is None and answers[TREE].error is None
        damaged = read and current == build.id and bool(_state(manifest, answers))
        return cls(
            build,
            settings.llama_cpp_repository,
            install=damaged or (current is None and answers[CURRENT].error is None),
            free_bytes=_free_bytes(answers),
            leftovers=_leftovers(answers),
        )

    @property
    def host_program(self) -> tuple[ManagedFile, ...]:
        """The program that switches builds, and the modules that it imports from the folder beside it."""
        return (
            ManagedFile(HOST_PROGRAM, shipped("strixfleet_host.py"), mode="0755"),
            *(ManagedFile(f"{HOST_MODULES}/{name}", shipped(name)) for name in _module_names()),
            *(ManagedFile(path, assets.render(f"host{path}.j2")) for path in UNIT_FILES),
        )

    def items(self) -> Iterator[Item]:
        """Say that the pinned build is current and untouched, the way back whole, nothing half-made."""
        yield from (file.item(self.name) for file in self.host_program)
        yield Item(f"{self.name}:{TIMER}", dict(TIMER_STATE))
        if self.build is None:
            yield Item("llama_cpp:pin", "set", Cure.MANUAL, message=NO_PIN)
            return
        cure = Cure.PROVISION if self.install else Cure.MANUAL
        yield Item("llama_cpp:current", self.build.id, cure, Cost.BUILD)
        yield Item("llama_cpp:files", {}, cure, Cost.BUILD, message="files differ from what was built here")
        yield Item("llama_cpp:options", [], Cure.MANUAL, message=FOREIGN_OPTIONS)
        yield Item("llama_cpp:owner", {"owner": "root", "mode": "0755"}, cure)
        if self.build.backend == "vulkan":
            yield Item("llama_cpp:shaders", [], Cure.MANUAL, message=SLOW_SHADERS)
        yield Item("llama_cpp:previous", "whole or none", Cure.MANUAL)
        yield Item("llama_cpp:leftovers", [], Cure.PROVISION)

    def observe(self, answers: Answers) -> Iterator[Observed]:
        """Read links, manifests and digests."""
        yield from (file.observe(self.name, answers) for file in self.host_program)
        yield _observe_timer(answers)
        if self.build is None:
            yield Observed("llama_cpp:pin", "not set")
            return
        current = current_build(answers)
        yield Observed("llama_cpp:current", current, answers[CURRENT].error, self._why(answers))
        unread = answers[MANIFEST].error or answers[TREE].error
        if current is None:
            yield Observed("llama_cpp:files", {"missing": ["everything"]}, unread, "no build is current")
        else:
            state = _state(parse_manifest(answers.text(*_pair(MANIFEST))), answers)
            yield Observed("llama_cpp:files", state, unread)
        lines = foreign_lines(answers.text(*_pair(SPELLING)) or "")
        yield Observed("llama_cpp:options", [*lines], answers[SPELLING].error)
        server = answers[SERVER]
        have = server.value if isinstance(server.value, dict) else {}
        yield Observed("llama_cpp:owner", {key: have.get(key) for key in ("owner", "mode")}, server.error)
        if self.build.backend == "vulkan":
            manifest = parse_manifest(answers.text(*_pair(MANIFEST)))
            lacks = list(manifest.lacks & {MATRIX_SHADERS}) if manifest else []
            yield Observed("llama_cpp:shaders", [*lacks], answers[MANIFEST].error)
        yield self._observe_previous(answers)
        yield Observed("llama_cpp:leftovers", list(_leftovers(answers)), answers[NAMES].error)

    def _why(self, answers: Answers) -> str:
        """Say how the current build differs from the wanted one."""
        current = current_build(answers)
        if self.build is None or current in {None, self.build.id}:
            return "no build is current" if self.build and current is None else ""
        manifest = parse_manifest(answers.text(*_pair(MANIFEST)))
        if manifest is None:
            return f"{current} is current and has no readable manifest; `strixfleet upgrade` moves the host"
        if other := other_backend(manifest, self.build):
            return other
        pairs = [("pin", manifest.ref, self.build.ref)]
        names = sorted(manifest.definitions.keys() | self.build.definitions.keys())
        pairs += [
            (name, manifest.definitions.get(name, "unset"), self.build.definitions.get(name, "unset"))
            for name in names
        ]
        changes = [f"{what} {have} → {want}" for what, have, want in pairs if have != want]
        return f"{', '.join(changes) or 'another toolchain'}: `strixfleet upgrade` moves the host"

    def _observe_previous(self, answers: Answers) -> Observed:
        target, error = answers[PREVIOUS].value, answers[PREVIOUS].error
        whole = target is None or parse_manifest(answers.text(*_pair(PREVIOUS_MANIFEST))) is not None
        have = "whole or none" if whole else f"{target} has no readable manifest"
        return Observed("llama_cpp:previous", have, error)

    def role_vars(self) -> dict[str, Json]:
        """Return the role the build's recipe and what the host needs for it."""
        build = self.build
        offline: list[Json] = [[list(names), value] for names, value in OFFLINE_DEFINITIONS]
        recipe: dict[str, Json] = {}
        if build is not None:
            recipe = {
                "id": build.id,
                "repository": self.repository,
                "ref": build.ref,
                "backend": build.backend,
                "definitions": dict(build.definitions),
                "strict": list(build.strict),
                "offline": offline,
                "membw": shipped("membw.c"),
                "toolchain": build.toolchain,
            }
        return {
            "llama_cpp_files": [file.role_var() for file in self.host_program],
            "llama_cpp_install": self.install,
            "llama_cpp_build": recipe,
            "llama_cpp_leftovers": [f"{BUILDS}/{name}" for name in self.leftovers],
            "llama_cpp_packages": [{"name": name} for name in build.packages] if build else [],
            "llama_cpp_needed_disk_bytes": NEEDED_DISK_BYTES[build.backend] if build else 0,
            "llama_cpp_free_disk_bytes": self.free_bytes,
        }


def _pair(question: Question) -> tuple[Ask, str]:
    return question.verb, question.subject
