"""Configure and compile llama.cpp: offline, with ccache, and with as many jobs as memory allows."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from typing import NamedTuple

from ansible_collections.strixfleet.fleet.plugins.module_utils.build_process import BuildError, Workshop
from ansible_collections.strixfleet.fleet.plugins.module_utils.on_host import files


CCACHE = "/var/cache/strixfleet/ccache"
MOST_CMAKE_BYTES = 4 << 20
TARGETS = ("llama-server", "llama-bench")
# The project asks git for its commit; the repository belongs to another account, which git refuses to trust.
READS_REPOSITORY = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}
UNUSED = "Manually-specified variables were not used by the project"


class Recipe(NamedTuple):
    """What the controller asks for."""

    definitions: dict[str, str]
    strict: list[str]
    offline: list[tuple[list[str], str]]
    membw: str
    repository: str
    compilers: list[str]
    job_bytes: int
    asked_environment: dict[str, tuple[list[str], str]]


class Compiled(NamedTuple):
    """What came out, and of what."""

    folder: str
    definitions: dict[str, str]
    compilers: dict[str, str]
    shader_features: dict[str, bool]


def job_count(job_bytes: int, meminfo: str, cores: int) -> int:
    """Cap the jobs by cores and by available memory."""
    found = re.search(r"^MemAvailable:\s*(\d+) kB", meminfo, re.MULTILINE)
    available = int(found[1]) * 1024 if found else 0
    jobs = min(cores, available // job_bytes)
    if jobs < 1:
        raise BuildError(
            f"{available >> 20} MiB of memory are free, each job of the build takes {job_bytes >> 20} MiB;"
            " hint: stop what fills the memory, or choose a smaller frame buffer in the BIOS"
        )
    return jobs


def known_definitions(source: str, offline: list[tuple[list[str], str]]) -> dict[str, str]:
    """Choose, of definitions that changed their names over time, those that this tree knows."""
    text = []
    for folder, folders, entries in os.walk(source):
        folders[:] = [name for name in folders if name not in {".git", "models", "tests", "examples"}]
        for name in entries:
            path = os.path.join(folder, name)
            if (name == "CMakeLists.txt" or name.endswith(".cmake")) and stat.S_ISREG(os.lstat(path).st_mode):
                text.append(files.read_text(path, MOST_CMAKE_BYTES) or "")
    words = set(re.findall(r"\w+", "\n".join(text)))
    chosen = {}
    for names, value in offline:
        first = next((name for name in names if name in words), None)
        if first is not None:
            chosen[first] = value
    return chosen


def unused_definitions(lines: list[str]) -> list[str]:
    """Read CMake's list of definitions that the project does not know."""
    for number, line in enumerate(lines):
        if UNUSED in line:
            rest = lines[number + 1 :]
            end = next((n for n, row in enumerate(rest) if row.startswith("--")), len(rest))
            return [row.strip() for row in rest[:end] if re.fullmatch(r"\s+\w+", row)]
    return []


def shader_features(lines: list[str]) -> dict[str, bool]:
    """Read which shader extensions the installed glslc knows; a missing one only makes the result slower."""
    found = [re.search(r"(GL_\w+) (not )?supported by glslc", line) for line in lines]
    return {match[1]: match[2] is None for match in found if match}


def versions(workshop: Workshop, compilers: list[str]) -> dict[str, str]:
    """Ask the tools for their versions; their first line is their identity."""
    found = {}
    for tool in ("cc", "c++", "cmake", "ninja", "ccache", *compilers):
        lines = workshop.run([tool, "--version"], cwd=workshop.folder)
        found[tool] = next((line.strip() for line in lines if line.strip()), "")
    return found


def cache_folder(workshop: Workshop, repository: str) -> str:
    """
    Make the compiler cache of one repository, and remove that of any other.

    A build can write into its cache whatever it likes, so repositories share none. Sandboxes do: all hosts of
    a machine have one, which anybody there may write to.
    """
    os.makedirs(CCACHE, mode=0o755, exist_ok=True)
    status = os.stat(CCACHE)
    if status.st_mode & stat.S_IWOTH:
        return CCACHE
    own = os.path.join(CCACHE, hashlib.sha256(repository.encode()).hexdigest()[:16])
    for entry in os.scandir(CCACHE):
        if status.st_uid != 0 or entry.path != own:
            shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
    os.chown(CCACHE, 0, 0)
    os.makedirs(own, mode=0o755, exist_ok=True)
    os.chown(own, workshop.account.pw_uid, workshop.account.pw_gid)
    return own


def prepare_ccache(workshop: Workshop, repository: str) -> dict[str, str]:
    """
    Return ccache's settings.

    The name space holds what `-march=native` means on this machine, which ccache cannot see: a cache that
    travels to another processor must not answer there.
    """
    folder = cache_folder(workshop, repository)
    shared = bool(os.stat(folder).st_mode & stat.S_IWOTH)
    native = workshop.run(["cc", "-march=native", "-Q", "--help=target"], cwd=workshop.folder)
    return {
        "CCACHE_DIR": folder,
        "CCACHE_MAXSIZE": "5G",
        "CCACHE_BASEDIR": os.path.dirname(workshop.folder),
        "CCACHE_NAMESPACE": hashlib.sha256("\n".join(native).encode()).hexdigest()[:12],
        "CCACHE_SLOPPINESS": "time_macros",
        **({"CCACHE_UMASK": "000"} if shared else {}),
    }


def asked_environment(workshop: Workshop, asked: dict[str, tuple[list[str], str]]) -> dict[str, str]:
    """Return variables whose values commands print, such as where the compiler is."""
    return {
        name: workshop.run(argv, cwd=workshop.folder)[-1].strip() + more
        for name, (argv, more) in asked.items()
    }


def compile_source(workshop: Workshop, source: str, recipe: Recipe) -> Compiled:
    """Configure and compile; an ignored definition is an error, because it silently builds something else."""
    objects = workshop.own_folder("obj")
    workshop.environment.update(prepare_ccache(workshop, recipe.repository))
    workshop.environment.update(READS_REPOSITORY)
    workshop.environment.update(asked_environment(workshop, recipe.asked_environment))
    definitions = recipe.definitions | known_definitions(source, recipe.offline)
    workshop.progress("configure")
    argv = ["cmake", "-S", source, "-B", objects, "-G", "Ninja"]
    lines = workshop.run([*argv, *(f"-D{name}={value}" for name, value in definitions.items())], cwd=objects)
    if unused := [name for name in unused_definitions(lines) if name in recipe.strict]:
        raise BuildError(
            f"this llama.cpp does not know {', '.join(unused)}; hint: correct llama_cpp_cmake_arguments"
        )
    with open("/proc/meminfo", encoding="ascii") as file:
        jobs = job_count(recipe.job_bytes, file.read(), len(os.sched_getaffinity(0)))
    made = workshop.run(["cmake", "--build", objects, "--target", *TARGETS, "-j", str(jobs)], cwd=objects)
    if any(line.startswith("cannot compile ") for line in made):
        raise BuildError("a shader did not compile; hint: see the log, often memory ran out")
    compile_membw(workshop, objects, recipe.membw)
    return Compiled(objects, definitions, versions(workshop, recipe.compilers), shader_features(lines))


def compile_membw(workshop: Workshop, objects: str, text: str) -> None:
    """Compile the program that measures memory bandwidth."""
    path = os.path.join(workshop.folder, "membw.c")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    target = os.path.join(objects, "bin", "strixfleet-membw")
    workshop.run(["cc", "-O3", "-march=native", "-pthread", "-o", target, path], cwd=objects)
